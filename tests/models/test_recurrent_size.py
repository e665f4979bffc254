"""Counts of recurrent models from the spec, against the built model."""

from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.count_recurrent import recurrent_encoder_decoder_parameters, recurrent_parameters
from textmill.base.model_spec import RecurrentEncoderDecoderSpec, RecurrentSpec
from textmill.models.table import empty

LANGUAGE_MODELS = st.builds(
    RecurrentSpec,
    cell=st.sampled_from(["gru", "lstm"]),
    d_model=st.sampled_from([4, 8]),
    hidden=st.sampled_from([None, 8, 12]),
    layers=st.integers(1, 3),
    attention=st.booleans(),
    heads=st.just(2),
    tied=st.booleans(),
)
TRANSLATORS = st.builds(
    RecurrentEncoderDecoderSpec,
    cell=st.sampled_from(["gru", "lstm"]),
    d_model=st.sampled_from([4, 8]),
    hidden=st.sampled_from([None, 8, 12]),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    attention=st.sampled_from(["additive", "dot", "general", "none"]),
    input_feeding=st.booleans(),
    bridge=st.booleans(),
    tied=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(LANGUAGE_MODELS, st.integers(1, 300))
def test_parameters_of_a_language_model_are_exact(spec, vocabulary):
    built = sum(parameter.numel() for parameter in empty(spec, vocabulary).parameters())
    assert recurrent_parameters(spec, vocabulary) == built


@settings(max_examples=60, deadline=None)
@given(TRANSLATORS, st.integers(1, 300))
def test_parameters_of_sequence_to_sequence_are_exact(spec, vocabulary):
    built = sum(parameter.numel() for parameter in empty(spec, vocabulary).parameters())
    assert recurrent_encoder_decoder_parameters(spec, vocabulary) == built
