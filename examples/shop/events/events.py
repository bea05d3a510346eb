"""Takes events over HTTP and puts them into the queue: POST /event -> 202 when RabbitMQ has confirmed it."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pika

QUEUE = "orders"
LOCK = threading.Lock()
CHANNEL = None


def channel():
    """The one channel, made anew when it was lost. Hold LOCK."""
    global CHANNEL
    if CHANNEL is None or CHANNEL.is_closed:
        parameters = pika.ConnectionParameters(os.environ["RABBITMQ_HOST"], heartbeat=0, blocked_connection_timeout=5,
                                               credentials=pika.PlainCredentials("shop", "shop"))
        CHANNEL = pika.BlockingConnection(parameters).channel()
        CHANNEL.queue_declare(QUEUE, durable=True)
        CHANNEL.confirm_delivery()
    return CHANNEL


def publish(body):
    global CHANNEL
    with LOCK:
        for last in (False, True):
            try:
                channel().basic_publish("", QUEUE, body, pika.BasicProperties(delivery_mode=2))
                return
            except pika.exceptions.AMQPError:
                CHANNEL = None
                if last:
                    raise


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            with LOCK:
                waiting = channel().queue_declare(QUEUE, passive=True).method.message_count
            self.answer(200, {"waiting": waiting})
        except (pika.exceptions.AMQPError, OSError) as e:
            self.answer(503, {"error": "rabbitmq: %r" % e})

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 65536))
        try:
            json.loads(body)
            publish(body)
            self.answer(202, {"queued": True})
        except ValueError as e:
            self.answer(400, {"error": "not JSON: %s" % e})
        except (pika.exceptions.AMQPError, OSError) as e:
            self.answer(503, {"error": "rabbitmq: %r" % e})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", 8000), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("events: listening", flush=True)
    server.serve_forever()
