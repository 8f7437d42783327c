import "reflect-metadata";

import { NestFactory } from "@nestjs/core";

import { BridgeModule } from "./bridge.module";
import { BridgePublisher } from "./bridge.publisher";

async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(BridgeModule, { logger: ["error", "warn"] });
  try {
    const id = await app.get(BridgePublisher).publish("quota.updated", {
      userId: process.argv[2] ?? "u1",
      timestamp: new Date().toISOString(),
      quotaId: "quota-7f3a",
      limits: { devices: 10 },
      usage: { devices: 4 },
    });
    console.log(`published quota.updated, message_id ${id}`);
  } finally {
    await app.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
