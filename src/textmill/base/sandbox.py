"""What a process gives up for good before it runs what strangers wrote: Landlock, seccomp, namespaces, capabilities.

Everything here is of the process that calls it and of Linux; nothing of it can be taken back, by the process or by what
it starts. Like confined.py, whose children use it, it imports nothing of Textmill, and talks to the kernel by ctypes.

    Landlock    (landlock(7), Linux 5.13) which folders may be read and written. Rights the kernel does not know yet are
                left out; from 6.7 also TCP, from 6.12 signals and abstract sockets
    seccomp     (seccomp(2)) a filter of system calls, written below as a table of their numbers
    namespaces  (unshare(2)) a network without interfaces, and a small folder of its own in memory: where allowed
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

# --- Landlock -----------------------------------------------------------------------------------------------------
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_READS = sum(1 << bit for bit in (0, 2, 3))  # execute, read a file, read a folder
# What changes a file system: write, remove, make … (version 1); then refer (2), truncate (3), ioctl of devices (5).
_WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))
_LATER_WRITES = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_OF_FILES = _READS & ~(1 << 3) | 1 << 1 | 1 << 14 | 1 << 15  # rights that a file, not a folder, can have
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0: none."""
    version = _LIBC.syscall(_CREATE, None, 0, 1) if sys.platform == "linux" else 0
    return max(version, 0)


def restrict_files(
    write: Iterable[str], read: Iterable[str] | None = None, *, reach_out: bool = True
) -> bool:
    """Give up writing files anywhere but in some folders, and reading (`read`) or running them anywhere but in others;
    without `reach_out` also TCP, and signals to other processes, where the kernel knows how. A folder that is not
    there allows nothing. Returns whether the kernel sees to it."""
    version = landlock_version()
    if not version:
        return False
    writes = _WRITES | sum(right for since, right in _LATER_WRITES.items() if version >= since)
    handled = writes if read is None else writes | _READS
    network = _TCP if version >= 4 and not reach_out else 0
    scoped = _SCOPES if version >= 6 and not reach_out else 0
    wanted = struct.pack("=QQQ", handled, network, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _LIBC.syscall(_CREATE, ctypes.create_string_buffer(wanted, len(wanted)), len(wanted), 0)
    if rules < 0:
        return False
    allowed = [(folder, _READS & handled) for folder in read or ()] + [(folder, handled) for folder in write]
    done = all(_allow(rules, folder, rights) for folder, rights in allowed)
    done = done and _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    done = done and _LIBC.syscall(_RESTRICT, rules, 0) == 0
    os.close(rules)
    return done


def _allow(rules: int, path: str, rights: int) -> bool:
    try:
        descriptor = os.open(path, os.O_PATH)
    except OSError:
        return True  # what is not there needs no right
    try:
        rights = rights if os.path.isdir(path) else rights & _OF_FILES
        allowed = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
        return _LIBC.syscall(_ADD, rules, 1, allowed, 0) == 0
    finally:
        os.close(descriptor)


# --- seccomp ------------------------------------------------------------------------------------------------------
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NEW_NAMESPACE = 0x7E020080  # any flag of clone(2) that makes one
_THREAD = 0x00010000  # its flag of a thread
# System calls by their numbers on x86-64 and on arm64 (-1: it has none); from 424 on all architectures share them.
_TABLE: dict[str, tuple[int, int]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "process_mrelease": (448, 448),
    # other namespaces and file systems
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "swapon": (167, 224), "swapoff": (168, 225), "sync": (162, 81), "syncfs": (306, 267),
    # the kernel itself
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "syslog": (103, 116),
    "acct": (163, 89), "personality": (135, 92), "iopl": (172, -1), "ioperm": (173, -1), "modify_ldt": (154, -1),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58), "lookup_dcookie": (212, 18),
    "uselib": (134, -1), "nfsservctl": (180, 42),
    # who it is
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143), "setresuid": (117, 147),
    "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152), "setgroups": (116, 159),
    "capset": (126, 91),
    # memory that outlives it, or that can be run
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
}  # fmt: skip
_SOCKETS: dict[str, tuple[int, int]] = {
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "connect": (42, 203), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "recvfrom": (45, 207), "recvmsg": (47, 212), "recvmmsg": (299, 243), "socketcall": (-1, -1),
}  # fmt: skip
_PROCESSES: dict[str, tuple[int, int]] = {
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, -1), "vfork": (58, -1),
}  # fmt: skip
_CLONE, _CLONE3, _KILL_CALL, _TGKILL, _PRLIMIT = (56, 220), (435, 435), (62, 129), (234, 131), (302, 261)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the table, AUDIT_ARCH


def restrict_calls(*, sockets: bool = False, processes: bool = False) -> bool:
    """Give up the system calls that reach beyond the process: of all its threads, from now on. A call that is given up
    fails with EPERM. Signals go to the process itself only. Returns whether the kernel sees to it."""
    column, architecture = _ARCHITECTURES.get(platform.machine(), (-1, 0))
    if sys.platform != "linux" or column < 0:
        return False
    program = _filter(column, architecture, sockets=sockets, processes=processes)
    code = ctypes.create_string_buffer(b"".join(program), 8 * len(program))
    wanted = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    if _LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return _LIBC.syscall((317, 277)[column], _SET_FILTER, _ALL_THREADS, wanted) == 0


def _filter(column: int, architecture: int, *, sockets: bool, processes: bool) -> list[bytes]:
    """The filter as instructions of classic BPF (code, jump if true, jump if not, value)."""

    def instruction(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, true, false, value)

    def load(
        offset: int,
    ) -> bytes:  # 4 bytes of seccomp_data: nr at 0, arch at 4, arguments from 16, 8 bytes each
        return instruction(0x20, offset)

    def equal(value: int, true: int = 0, false: int = 0) -> bytes:
        return instruction(0x15, value, true, false)

    def any_bit(value: int, true: int = 0, false: int = 0) -> bytes:
        return instruction(0x45, value, true, false)

    def end(value: int) -> bytes:
        return instruction(0x06, value)

    refused = end(_ERRNO | _EPERM)
    code = [load(4), equal(architecture, true=1), end(_KILL), load(0)]
    code += [instruction(0x35, 0x40000000, 0, 1), end(_KILL)]  # x32: the same calls under other numbers
    denied = {**_TABLE, **({} if sockets else _SOCKETS), **({} if processes else _PROCESSES)}
    for numbers in denied.values():
        if numbers[column] >= 0:
            code += [equal(numbers[column], 0, 1), refused]
    # clone3 hides its flags from a filter: libraries then fall back to clone, whose flags are looked at.
    code += [equal(_CLONE3[column], 0, 1), end(_ERRNO | _ENOSYS)]
    flags = [load(16), any_bit(_NEW_NAMESPACE, 0, 1), refused]
    if not processes:
        flags += [any_bit(_THREAD, 1, 0), refused]
    code += [equal(_CLONE[column], 0, len(flags) + 1), *flags, end(_ALLOW)]
    for number, mine in ((_KILL_CALL, os.getpid()), (_TGKILL, os.getpid()), (_PRLIMIT, 0)):
        code += [equal(number[column], 0, 4), load(16), equal(mine, 0, 1), end(_ALLOW), refused]
    return [*code, end(_ALLOW)]


# --- capabilities and namespaces ----------------------------------------------------------------------------------
_NEW_USER, _NEW_NET, _NEW_MOUNTS, _NEW_IPC = 0x10000000, 0x40000000, 0x00020000, 0x08000000  # of unshare(2)
_PRIVATE, _NO_PROGRAMS = 0x44000, 0b1110  # of mount(2): no mount is shared; no set-user-ID, devices, programs


def new_namespaces(*, network: bool, mounts: bool) -> bool:
    """Leave for a network of no interfaces, and for mounts of one's own, as the same user: where the kernel lets a
    process without threads do so."""
    user, group = os.geteuid(), os.getegid()
    with contextlib.suppress(OSError, AttributeError):
        wanted = _NEW_NET | _NEW_IPC if network else 0
        wanted |= _NEW_MOUNTS if mounts else 0
        if _LIBC.unshare(_NEW_USER | wanted) != 0:
            return False
        with contextlib.suppress(OSError):  # who has changed users may not
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        return True
    return False


def new_folder(folder: Path, size: int, files: int) -> bool:
    """Put an empty folder of so many bytes and files, in memory, in place of one: for who has mounts of its own."""
    _LIBC.mount(None, b"/", None, _PRIVATE, None)
    options = f"size={size},nr_inodes={files},mode=700".encode()
    if _LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", _NO_PROGRAMS, options) != 0:
        return False
    return os.access(folder, os.W_OK)


def drop_capabilities() -> bool:
    """Give up all that root, or a namespace of one's own, may do beyond an ordinary user."""
    if sys.platform != "linux":
        return False
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))  # version 3, of this thread
    return _LIBC.capset(header, ctypes.create_string_buffer(24)) == 0
