/** What the compiler holds: `npm run check` reads this file; run, it only checks that it was read. */

import { describe, expectTypeOf, test } from "vitest";
import type {
  Bridge,
  BridgeEvent,
  EventName,
  InboxItem,
  Matching,
  QuotaUpdated,
  UnknownEvent,
} from "../../src/index.js";
import type { BillingEvent } from "../../src/react/index.js";

declare const bridge: Bridge;

describe("types", () => {
  test("an event's payload follows from its type", () => {
    expectTypeOf<BridgeEvent<"quota.updated">["data"]>().toEqualTypeOf<QuotaUpdated>();
    expectTypeOf<BridgeEvent<"quota.updated">["version"]>().toEqualTypeOf<1>();
    const narrowed = (event: BridgeEvent) => (event.type === "quota.updated" ? event.data : undefined);
    expectTypeOf(narrowed).returns.toEqualTypeOf<QuotaUpdated | undefined>();
  });

  test("an event may have the trace of its publisher; one in the inbox has none", () => {
    expectTypeOf<BridgeEvent["trace"]>().toEqualTypeOf<string | undefined>();
    expectTypeOf<UnknownEvent["trace"]>().toEqualTypeOf<string | undefined>();
    expectTypeOf<InboxItem["event"]>().not.toHaveProperty("trace");
  });

  test("a pattern gives the events that it matches", () => {
    expectTypeOf<Matching<"whatsapp.*">["type"]>().toEqualTypeOf<"whatsapp.qr" | "whatsapp.connection">();
    expectTypeOf<Matching<"*">["type"]>().toEqualTypeOf<EventName>();
    expectTypeOf<Matching<"match.scored">>().toEqualTypeOf<UnknownEvent>();
    expectTypeOf<BillingEvent["type"]>()
      .extract<`order.${string}`>()
      .toEqualTypeOf<"order.completed" | "order.cancelled">();
  });

  test("an event that does not exist cannot be listened to", () => {
    const wrong = () => {
      // @ts-expect-error a service prefix
      bridge.on("user.quota.updated", () => {});
      // @ts-expect-error camel case
      bridge.on("quotaUpdated", () => {});
    };
    expectTypeOf(wrong).returns.toBeVoid();
  });

  test("money is text, so that nobody adds it up as a number", () => {
    expectTypeOf<BridgeEvent<"wallet.deposit_completed">["data"]["amount"]>().toEqualTypeOf<string>();
  });
});
