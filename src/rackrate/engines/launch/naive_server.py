"""The naive way to serve a model: `model.generate`, one request at a time, behind an OpenAI-compatible API.

A baseline to measure, as a first attempt would be; nothing is batched, and requests wait for a lock. Its one argument
is a JSON object of settings: weights, alias, host, port, dtype, device, threads.
"""

import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer


class GoneError(OSError):
    """The client left."""


class Pieces(BaseStreamer):
    """Passes on the text of every token as it comes."""

    def __init__(self, tokenizer, send):
        self.tokenizer, self.send = tokenizer, send
        self.ids, self.start, self.shown, self.prompt_seen = [], 0, 0, False

    def put(self, value):
        if not self.prompt_seen:  # generate hands over the prompt first
            self.prompt_seen = True
            return
        self.ids += value.flatten().tolist()
        before = self.tokenizer.decode(self.ids[self.start : self.shown], skip_special_tokens=True)
        now = self.tokenizer.decode(self.ids[self.start :], skip_special_tokens=True)
        if now.endswith("\ufffd"):  # half of a character: wait for the rest
            return
        self.start, self.shown = self.shown, len(self.ids)
        self.send(now[len(before) :])

    def end(self):
        pass


class Cancelled(StoppingCriteria):
    """Ends a generation whose client has gone."""

    def __init__(self):
        self.gone = False

    def __call__(self, input_ids, scores, **_):
        return torch.full((input_ids.shape[0],), self.gone, device=input_ids.device, dtype=torch.bool)


class State:
    """The model, the lock that lets one request in at a time, and what was served."""

    def __init__(self, settings):
        if settings.get("threads"):
            torch.set_num_threads(settings["threads"])
        self.alias = settings["alias"]
        self.tokenizer = AutoTokenizer.from_pretrained(settings["weights"])
        dtype = getattr(torch, settings["dtype"])
        self.model = AutoModelForCausalLM.from_pretrained(settings["weights"], dtype=dtype).to(settings["device"])
        self.model.eval()
        self.one_at_a_time, self.counting = threading.Lock(), threading.Lock()
        self.input_tokens = self.output_tokens = self.requests = self.waiting = self.running = 0

    def count(self, **changes):
        with self.counting:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)

    def ids(self, body):
        if "messages" in body:
            return self.tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )["input_ids"]
        return self.tokenizer(body["prompt"], return_tensors="pt")["input_ids"]

    def generate(self, body, send):
        """Answers a request, and returns its (input tokens, output tokens, reason for its end)."""
        ids = self.ids(body).to(self.model.device)
        most = int(body.get("max_tokens") or body.get("max_completion_tokens") or 256)
        least = most if body.get("ignore_eos") else int(body.get("min_tokens") or 0)
        cancelled = Cancelled()

        def send_or_cancel(text):
            try:
                send(text)
            except OSError:
                cancelled.gone = True

        streamer = Pieces(self.tokenizer, send_or_cancel)
        temperature = body.get("temperature")
        sampling = {"do_sample": False} if not temperature else {"do_sample": True, "temperature": float(temperature)}
        self.count(waiting=1)
        with self.one_at_a_time, torch.inference_mode():
            self.count(waiting=-1, running=1)
            try:
                self.model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=most,
                    min_new_tokens=least or None,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([cancelled]),
                    **sampling,
                )
            finally:
                self.count(running=-1, requests=1, input_tokens=ids.shape[1], output_tokens=len(streamer.ids))
        if cancelled.gone:
            raise GoneError
        return ids.shape[1], len(streamer.ids), "length" if len(streamer.ids) >= most else "stop"

    def metrics(self):
        rows = {
            "naive:prompt_tokens_total": self.input_tokens,
            "naive:generation_tokens_total": self.output_tokens,
            "naive:requests_total": self.requests,
            "naive:requests_running": self.running,
            "naive:requests_waiting": self.waiting,
        }
        kinds = {name: "counter" if name.endswith("_total") else "gauge" for name in rows}
        return "".join(f"# TYPE {name} {kinds[name]}\n{name} {value}\n" for name, value in rows.items())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State
    key: str | None = None

    def log_message(self, format, *args):  # noqa: A002 - the name is the base class's
        pass

    def answer(self, status, text, kind="application/json"):
        payload = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def refuse(self, status, message):
        self.answer(status, json.dumps({"error": {"message": message, "type": "invalid_request_error"}}))

    def do_GET(self):
        if self.path == "/health":
            self.answer(200, "{}")
        elif self.path == "/metrics":
            self.answer(200, self.state.metrics(), "text/plain; version=0.0.4")
        elif self.path == "/v1/models":
            model = {"id": self.state.alias, "object": "model", "owned_by": "rackrate-naive"}
            self.answer(200, json.dumps({"object": "list", "data": [model]}))
        else:
            self.refuse(404, f"no page {self.path}")

    def do_POST(self):
        given = (self.headers.get("Authorization") or "").encode()
        if self.key is not None and not hmac.compare_digest(given, b"Bearer " + self.key.encode()):
            self.refuse(401, "the API key is missing or wrong")
            self.close_connection = True
            return
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chat = self.path == "/v1/chat/completions"
        if not chat and self.path != "/v1/completions":
            self.refuse(404, f"no page {self.path}")
            return
        try:
            body = json.loads(raw)
            if not isinstance(body, dict) or ("messages" if chat else "prompt") not in body:
                raise ValueError("the body has no " + ("messages" if chat else "prompt"))
        except ValueError as error:
            self.refuse(400, str(error))
            return
        if body.get("stream"):
            self.stream(body, chat)
        else:
            self.whole(body, chat)

    def chunk(self, chat, text, reason=None):
        choice = {"index": 0, "finish_reason": reason}
        choice |= {"delta": {"content": text} if text else {}} if chat else {"text": text}
        kind = "chat.completion.chunk" if chat else "text_completion"
        return {
            "id": "naive",
            "object": kind,
            "created": int(time.time()),
            "model": self.state.alias,
            "choices": [choice],
        }

    def event(self, values):
        text = values if isinstance(values, str) else json.dumps(values)
        payload = f"data: {text}\n\n".encode()
        self.wfile.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n")
        self.wfile.flush()

    def stream(self, body, chat):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            used = self.state.generate(body, lambda text: self.event(self.chunk(chat, text)))
            self.event(self.chunk(chat, "", used[2]))
            if (body.get("stream_options") or {}).get("include_usage"):
                self.event(self.chunk(chat, "") | {"choices": [], "usage": usage(used)})
            self.event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def whole(self, body, chat):
        parts: list[str] = []
        used = self.state.generate(body, parts.append)
        values = self.chunk(chat, "", used[2]) | {"usage": usage(used)}
        choice = values["choices"][0]
        choice.pop("delta", None)
        text = "".join(parts)
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        values["object"] = "chat.completion" if chat else "text_completion"
        self.answer(200, json.dumps(values))


def usage(used):
    return {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": used[0] + used[1]}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    settings = json.loads(sys.argv[1])
    Handler.key = os.environ.pop("RACKRATE_ENGINE_KEY", None) or None
    Handler.state = State(settings)
    server = Server((settings["host"], settings["port"]), Handler)
    sys.stdout.write(f"listening on http://{settings['host']}:{settings['port']}\n")
    sys.stdout.flush()
    server.serve_forever()


main()
