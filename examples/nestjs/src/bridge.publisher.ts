import { randomUUID } from "node:crypto";

import { Inject, Injectable, type OnApplicationShutdown } from "@nestjs/common";
import { ClientProxy, RmqRecordBuilder } from "@nestjs/microservices";
import { defer, lastValueFrom, retry, timeout } from "rxjs";

export const BRIDGE = Symbol("bridge");

const ANSWER_MS_MAX = 5_000;
const RETRIES_MAX = 3;
const RETRY_MS = 1_000;

@Injectable()
export class BridgePublisher implements OnApplicationShutdown {
  constructor(@Inject(BRIDGE) private readonly client: ClientProxy) {}

  /**
   * Publish an event; resolves to its id when RabbitMQ has confirmed it, and rejects when it did not.
   *
   * The name is the routing key, such as quota.updated. Every attempt has the same id, so that the bridge
   * logs the event once. If your process may end in between, keep event and id in an outbox table.
   */
  async publish(name: string, event: object, messageId: string = randomUUID()): Promise<string> {
    const record = new RmqRecordBuilder(event)
      .setOptions({ messageId, contentType: "application/json", persistent: true })
      .build();
    await lastValueFrom(
      defer(() => this.client.emit<void>(name, record)).pipe(
        timeout(ANSWER_MS_MAX),
        retry({ count: RETRIES_MAX, delay: RETRY_MS }),
      ),
      { defaultValue: undefined },
    );
    return messageId;
  }

  async onApplicationShutdown(): Promise<void> {
    await this.client.close();
  }
}
