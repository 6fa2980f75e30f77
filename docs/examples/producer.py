"""Asks for a connect with nothing but an AMQP client, and prints the URL to send the person to.

    python docs/examples/producer.py [PLATFORM]

It never prints the broker's password.
"""

import json
import sys
import time
import uuid

import settings

try:
    import pika
    from pika.exceptions import AMQPError, NackError, UnroutableError
except ImportError:
    settings.lacks("pika")

PATIENCE_S = 10
# The broker's own name for "answer on this channel": no queue has to be made.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"


def main():
    platform = sys.argv[1] if len(sys.argv) > 1 else "SANDBOX"
    server = pika.URLParameters(settings.read("AMQP_URL"))
    server.blocked_connection_timeout = PATIENCE_S
    # It names this wish. Keep it with the wish: whoever does not know whether a request arrived
    # publishes it again with the same message id and body, and gets the same answer.
    message_id = str(uuid.uuid4())
    properties = pika.BasicProperties(
        type="connect.requested",
        message_id=message_id,
        correlation_id=message_id,
        reply_to=DIRECT_REPLY_TO,
        # RabbitMQ refuses a message with another user's name, so that Latchkey knows who asks.
        user_id=server.credentials.username,
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent.value,
    )
    body = {"workspaceId": settings.read("LATCHKEY_WORKSPACE"), "platform": platform}
    with pika.BlockingConnection(server) as connection:
        kind, answer = ask(connection, properties, json.dumps(body))
    if kind != "connect.ready":
        fields = [f"{error['pointer']}: {error['message']}" for error in answer.get("errors", [])]
        sys.exit("\n".join([f"{answer['code']}: {answer['message']}", *fields]))
    print(f"{answer['connectId']}: send the person there before {answer['expiresAt']}", file=sys.stderr)
    print(answer["authorizeUrl"])


def ask(connection, properties, body):
    """Publishes the request and waits for its answer: the answer's type, and its body."""
    channel = connection.channel()
    # A publish then returns when the broker has the message, and raises when it does not take it.
    channel.confirm_delivery()
    replies = []

    def keep(_channel, _method, reply, content):
        if reply.correlation_id == properties.correlation_id:
            replies.append((reply.type, json.loads(content)))

    # Before the request, and on the same channel.
    channel.basic_consume(DIRECT_REPLY_TO, keep, auto_ack=True)
    exchange = f"{settings.read('LATCHKEY_BROKER_PREFIX')}.requests"
    channel.basic_publish(exchange, "connect.requested", body, properties, mandatory=True)
    deadline = time.monotonic() + PATIENCE_S
    while not replies and time.monotonic() < deadline:
        connection.process_data_events(time_limit=1)
    if not replies:
        # The request may wait in the queue, or the answer got lost: asking again with the same
        # message id is safe either way.
        sys.exit(f"no answer within {PATIENCE_S} s: does a worker with the pool `requests` run?")
    return replies[0]


if __name__ == "__main__":
    try:
        main()
    except (NackError, UnroutableError):
        sys.exit("the broker did not take the request: is Latchkey's queue of requests there, and not full?")
    except AMQPError as error:
        sys.exit(f"the broker: {type(error).__name__} {error}")
