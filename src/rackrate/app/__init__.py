"""The use cases: one module each, with a typed request, a typed answer, and everything ambient in a `Context`.

    request = PriceRequest(run="runs/gpu", utilisation=0.3)     # frozen; to and from JSON (`request_json`)
    answer = price(request, context)                            # no printing, no exit, no signal, no argv

Shells (`cli`, and whatever comes beside it) turn options into requests and answers into documents. They hold no rule
and no number of their own.
"""
