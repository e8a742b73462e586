"""Measure a server or an engine: the request, the load it comes to, the job, and a handle to follow and stop it.

measured = measure(MeasureRequest(url="http://127.0.0.1:8000"), context)         # waits
measurement = start(MeasureRequest(engines=("llamacpp", "naive")), context)      # from any thread or event loop
for event in measurement.follow(): ...
measurement.stop(); measured = measurement.result()
"""
