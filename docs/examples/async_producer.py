"""The same as producer.py with aio-pika, whose robust connection comes back by itself.

    python docs/examples/async_producer.py [PLATFORM]

It never prints the broker's password.
"""

import asyncio
import json
import sys
import uuid

import settings

try:
    import aio_pika
    from aio_pika.exceptions import AMQPError, DeliveryError
    from yarl import URL
except ImportError:
    settings.lacks("aio-pika")

PATIENCE_S = 10


async def main():
    platform = sys.argv[1] if len(sys.argv) > 1 else "SANDBOX"
    server = URL(settings.read("AMQP_URL"))
    body = {"workspaceId": settings.read("LATCHKEY_WORKSPACE"), "platform": platform}
    async with await aio_pika.connect_robust(server, timeout=PATIENCE_S) as connection:
        kind, answer = await ask(connection, server.user, json.dumps(body).encode())
    if kind != "connect.ready":
        fields = [f"{error['pointer']}: {error['message']}" for error in answer.get("errors", [])]
        sys.exit("\n".join([f"{answer['code']}: {answer['message']}", *fields]))
    print(f"{answer['connectId']}: send the person there before {answer['expiresAt']}", file=sys.stderr)
    print(answer["authorizeUrl"])


async def ask(connection, user, body):
    """Publishes the request and waits for its answer: the answer's type, and its body."""
    prefix = settings.read("LATCHKEY_BROKER_PREFIX")
    channel = await connection.channel(publisher_confirms=True)
    # Under the user's own name: a queue that aio-pika names (`amq_…`) cannot be told from another tenant's, and
    # Latchkey answers into none of those.
    queue = await channel.declare_queue(f"{prefix}.replies.{user}.{uuid.uuid4()}", exclusive=True, auto_delete=True)
    # It names this wish. Keep it with the wish: a program that does not know whether a request arrived
    # publishes it again with the same message id and body, and gets the same answer.
    message_id = str(uuid.uuid4())
    request = aio_pika.Message(
        body,
        type="connect.requested",
        message_id=message_id,
        correlation_id=message_id,
        reply_to=queue.name,
        # RabbitMQ refuses a message with another user's name, so that Latchkey knows who asks.
        user_id=user,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    exchange = await channel.get_exchange(f"{prefix}.requests", ensure=False)
    async with queue.iterator(no_ack=True, timeout=PATIENCE_S) as replies:
        await exchange.publish(request, "connect.requested", mandatory=True)
        try:
            async for reply in replies:
                if reply.correlation_id == message_id:
                    return reply.type, json.loads(reply.body)
        except asyncio.TimeoutError:
            pass
    # The request may wait in the queue, or the answer got lost: asking again with the same
    # message id is safe either way.
    sys.exit(f"no answer within {PATIENCE_S} s: does a worker with the pool `requests` run?")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except DeliveryError:
        sys.exit("the broker did not take the request: is Latchkey's queue of requests there, and not full?")
    except (AMQPError, OSError) as error:
        sys.exit(f"the broker: {type(error).__name__} {error}")
