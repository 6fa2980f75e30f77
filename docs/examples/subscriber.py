"""Hears Latchkey's events from a queue of its own and prints each as a line of JSON.

    python docs/examples/subscriber.py [NAME] [BINDING_KEY]

It never acknowledges an event before it is done with it, and never prints the broker's password.
"""

import json
import sys
import time

import settings
from seen import Seen

try:
    import pika
    from pika.exceptions import (
        AMQPError,
        ChannelClosedByBroker,
        ProbableAccessDeniedError,
        ProbableAuthenticationError,
    )
except ImportError:
    settings.lacks("pika")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1, 30
AT_ONCE = 50
ACCESS_REFUSED, PRECONDITION_FAILED = 403, 406


class Subscriber:
    def __init__(self, name, binding_key):
        prefix = settings.read("LATCHKEY_BROKER_PREFIX")
        self.exchange = f"{prefix}.events"
        self.queue = f"{prefix}.subscribers.{name}"
        self.binding_key = binding_key
        self.pause = FIRST_PAUSE_S
        self.seen = Seen()
        self.newest = {}

    def listen(self, connection):
        """Until the connection or the queue is gone."""
        channel = connection.channel()
        # Durable and replicated: what happens while nobody listens waits here.
        channel.queue_declare(self.queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(self.queue, self.exchange, self.binding_key)
        channel.basic_qos(prefetch_count=AT_ONCE)
        channel.basic_consume(self.queue, self.take)
        self.pause = FIRST_PAUSE_S
        say(f"listening on {self.queue} for {self.binding_key}")
        channel.start_consuming()

    def take(self, channel, method, _properties, body):
        event = json.loads(body)
        if event["id"] not in self.seen:
            self.check_order(event)
            print(json.dumps(event), flush=True)
            self.seen.add(event["id"])
        # Only now: a process that dies before gets the event again.
        channel.basic_ack(method.delivery_tag)

    def check_order(self, event):
        """Events may overtake each other. `sequence` numbers those of one account, from 1."""
        account, sequence = event["data"].get("accountId"), event["sequence"]
        if sequence is None:
            return
        if sequence < self.newest.get(account, 0):
            say(f"{event['id']} is older than what is known of {account}: it must not overwrite that")
        self.newest[account] = max(sequence, self.newest.get(account, 0))


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "example"
    key = sys.argv[2] if len(sys.argv) > 2 else f"{settings.read('LATCHKEY_WORKSPACE')}.#"
    server = pika.URLParameters(settings.read("AMQP_URL"))
    subscriber = Subscriber(name, key)
    while True:
        try:
            with pika.BlockingConnection(server) as connection:
                subscriber.listen(connection)
            why = "the queue is gone"
        except (ProbableAccessDeniedError, ProbableAuthenticationError) as error:
            sys.exit(f"the broker refuses this user: {error}")
        except ChannelClosedByBroker as error:
            if error.reply_code in (ACCESS_REFUSED, PRECONDITION_FAILED):
                sys.exit(f"the broker: {error.reply_text}")
            why = error.reply_text
        except AMQPError as error:
            why = f"{type(error).__name__} {error}"
        say(f"{why}: trying again in {subscriber.pause} s")
        time.sleep(subscriber.pause)
        subscriber.pause = min(2 * subscriber.pause, LONGEST_PAUSE_S)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
