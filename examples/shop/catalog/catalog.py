"""The goods: GET /api/catalog, GET /api/catalog/SKU; from PostgreSQL, where they are put at the first start."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2

GOODS = [("jar-s", "Small onggi", 18000), ("jar-m", "Onggi for kimchi", 45000), ("jar-l", "Onggi for soy sauce", 120000),
         ("lid", "Lid of clay", 9000), ("ladle", "Gourd ladle", 6000)]


def connect():
    with open(os.environ["DATABASE_PASSWORD_FILE"]) as f:
        return psycopg2.connect(host=os.environ["DATABASE_HOST"], dbname=os.environ["DATABASE_NAME"], user=os.environ["DATABASE_USER"],
                                password=f.read().strip(), connect_timeout=5)


def ask(sql, *values):
    # A connection for each thread; one that was lost is made anew once.
    for last in (False, True):
        try:
            if getattr(LOCAL, "connection", None) is None or LOCAL.connection.closed:
                LOCAL.connection = connect()
                LOCAL.connection.autocommit = True
            with LOCAL.connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        except psycopg2.OperationalError:
            LOCAL.connection = None
            if last:
                raise


LOCAL = threading.local()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            if self.path == "/healthz":
                return self.answer(200, {"goods": ask("select count(*) from goods")[0][0]})
            parts = self.path.strip("/").split("/")
            if parts == ["api", "catalog"]:
                return self.answer(200, [dict(zip(("sku", "name", "price"), row)) for row in ask("select sku, name, price from goods order by price")])
            if len(parts) == 3 and parts[:2] == ["api", "catalog"]:
                rows = ask("select sku, name, price from goods where sku = %s", parts[2])
                return self.answer(200, dict(zip(("sku", "name", "price"), rows[0]))) if rows else self.answer(404, {"error": "no such good: " + parts[2]})
            return self.answer(404, {"error": "no such page"})
        except psycopg2.Error as e:
            return self.answer(503, {"error": "the database: " + str(e).strip()})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    ask("create table if not exists goods (sku text primary key, name text not null, price integer not null)")
    for row in GOODS:
        ask("insert into goods values (%s, %s, %s) on conflict do nothing", *row)
    server = ThreadingHTTPServer(("", 8000), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("catalog: %d goods" % len(GOODS), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
