import { Module } from "@nestjs/common";
import { ClientsModule, Transport } from "@nestjs/microservices";

import { BRIDGE, BridgePublisher } from "./bridge.publisher";

@Module({
  imports: [
    ClientsModule.register([
      {
        name: BRIDGE,
        transport: Transport.RMQ,
        options: {
          urls: [process.env.RABBITMQ_URL ?? "amqp://guest:guest@127.0.0.1:5672/"],
          exchange: process.env.EXCHANGE ?? "cloudphone.events",
          exchangeType: "topic",
          wildcards: true, // The event's name becomes the routing key; without it, it goes to one queue.
          persistent: true,
        },
      },
    ]),
  ],
  providers: [BridgePublisher],
  exports: [BridgePublisher],
})
export class BridgeModule {}
