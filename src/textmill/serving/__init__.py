"""A private service on one's own machine, in the shapes that existing clients speak (extra `serve`).

    gate       who gets in: Host, Origin, content type, key      patience     how much of a client's, how long
    keys       keys with scopes and rates, hashed                log          the access log, and what is counted
    refusals   what is refused, in each client's shape           bodies       what a client sends
    asking     a body becomes requests of the engine             answering    what is written becomes an answer
    predicting what a model says of records                      sampling     fields of OpenAI's routes for text
    tools      functions a model may call                        conversation messages and functions
    service    the models that are served                        app, server  all of it, on a socket
    routes/    a file for each family of routes                  page         their description, without a network

What a client is told stays English, as logs and reports in files do: programs read it.
"""
