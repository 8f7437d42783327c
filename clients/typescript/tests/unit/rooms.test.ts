import { describe, expect, test } from "vitest";
import { Rooms } from "../../src/rooms.js";

function wanting(...rooms: string[]): Rooms {
  const wanted = new Rooms();
  for (const room of rooms) wanted.want(room);
  return wanted;
}

describe("names of rooms", () => {
  test.each(["all", "device:d7", "user:a@b.example", "whatsapp_company:1", `x:${"y".repeat(128)}`])(
    "%s is one",
    (room) => {
      expect(wanting(room).begin(9)).toEqual([room]);
    },
  );

  test.each([
    "",
    "d7",
    "device:",
    "Device:d7",
    "device:*",
    "device:a b",
    "device:a,b",
    `x:${"y".repeat(129)}`,
  ])("%j is none", (room) => {
    expect(() => wanting(room)).toThrow(TypeError);
  });
});

test("a room is wanted for as long as somebody wants it", () => {
  const rooms = wanting("device:d7", "device:d7");
  rooms.begin(9);
  rooms.joined(["device:d7"]);

  rooms.drop("device:d7");
  expect(rooms.toLeave(9)).toEqual([]);
  rooms.drop("device:d7");
  expect(rooms.toLeave(9)).toEqual(["device:d7"]);
});

test("rooms that were not asked for are not left", () => {
  const rooms = wanting();
  rooms.begin(9);

  rooms.joined(["user:u1", "all"]);

  expect(rooms.toLeave(9)).toEqual([]);
  expect(rooms.view.rooms).toEqual(["user:u1", "all"]);
});

test("a refused room is not asked for again, until a new socket or somebody new", () => {
  const rooms = wanting("device:d7", "device:d8");
  rooms.begin(9);
  rooms.refused([
    { room: "device:d7", code: "forbidden" },
    { room: "device:d8", code: "forbidden" },
  ]);

  expect(rooms.toJoin(9)).toEqual([]);
  expect(rooms.view.refused).toEqual({ "device:d7": "forbidden", "device:d8": "forbidden" });
  rooms.drop("device:d8");
  expect(rooms.view.refused).toEqual({ "device:d7": "forbidden" });
  rooms.want("device:d8");
  expect(rooms.toJoin(9)).toEqual(["device:d8"]);
  expect(rooms.begin(9)).toEqual(["device:d7", "device:d8"]);
});

test("a refusal that may pass leaves the room to be asked for", () => {
  const rooms = wanting("device:d7");
  rooms.begin(9);

  expect(rooms.refused([{ room: "device:d7", code: "unavailable" }])).toBe(true);
  expect(rooms.toJoin(9)).toEqual(["device:d7"]);
});

test("what is asked for at once is limited in number and in characters", () => {
  const rooms = wanting("device:d1", "device:d2", "device:d3");

  expect(rooms.begin(2)).toEqual(["device:d1", "device:d2"]);
  expect(rooms.begin(9, 30)).toEqual(["device:d1", "device:d2"]);
  expect(rooms.toJoin(1)).toEqual(["device:d1"]);
});
