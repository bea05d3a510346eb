"""Takes paid orders from the queue and marks them as shipped in PostgreSQL; one is acknowledged only when that is written."""

import json
import os
import sys
import time

import pika
import psycopg2

QUEUE = "orders"


def database():
    with open(os.environ["DATABASE_PASSWORD_FILE"]) as f:
        return psycopg2.connect(host=os.environ["DATABASE_HOST"], dbname=os.environ["DATABASE_NAME"], user=os.environ["DATABASE_USER"],
                                password=f.read().strip(), connect_timeout=5)


def ship(channel, method, _properties, body):
    number = int(json.loads(body)["order"])
    connection = database()
    with connection, connection.cursor() as cursor:
        cursor.execute("update orders set state = 'shipped' where number = %s", (number,))
    connection.close()
    channel.basic_ack(method.delivery_tag)
    print("shipping: order %d is on its way" % number, flush=True)


def main():
    while True:
        try:
            parameters = pika.ConnectionParameters(os.environ["RABBITMQ_HOST"], credentials=pika.PlainCredentials("shop", "shop"))
            channel = pika.BlockingConnection(parameters).channel()
            channel.queue_declare(QUEUE, durable=True)
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(QUEUE, ship)
            print("shipping: waiting for orders", flush=True)
            channel.start_consuming()
        except (pika.exceptions.AMQPError, psycopg2.Error, OSError) as e:
            print("shipping: %r; again in a second" % e, file=sys.stderr, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
