/** A real RabbitMQ and two real bridges, behind a balancer that can fail. See tests/client_stage.py. */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));
const PYTHON = process.env.CLIENT_TEST_PYTHON ?? ".venv/bin/python";

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

export class Stage {
  readonly balancer = new Balancer();
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #said = "";

  private constructor(settings: Record<string, string>) {
    const env = { ...process.env, ...settings };
    this.#process = spawn(PYTHON, ["-m", "tests.client_stage"], { cwd: ROOT, env });
    this.#process.stderr.on("data", (text) => {
      this.#said = (this.#said + text).slice(-4_000);
    });
  }

  /** Returns when both bridges are ready. `settings` are theirs, as environment variables. */
  static async open(settings: Record<string, string> = {}): Promise<Stage> {
    const stage = new Stage(settings);
    const urls = await new Promise<string[]>((resolve, reject) => {
      stage.#process.once("exit", (code) =>
        reject(new Error(`the stage ended with ${code}: ${stage.#said}`)),
      );
      createInterface({ input: stage.#process.stdout }).on("line", (line) => {
        const said = JSON.parse(line);
        if (said.urls) resolve(said.urls);
        else stage.#answered(said);
      });
    });
    await stage.balancer.open(urls.map((url) => Number(new URL(url).port)));
    return stage;
  }

  async close(): Promise<void> {
    this.balancer.close();
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin.end();
    await gone;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.balancer.port}/ws`;
  }

  token(user: string, { seconds = 3_600, rooms = [] as string[] } = {}): Promise<string> {
    return this.#order({ do: "token", user, seconds, rooms });
  }

  publish(type: string, ...bodies: object[]): Promise<number> {
    return this.#order({ do: "publish", type, bodies });
  }

  /** Publish orders to a user, with these numbers. */
  async publishOrders(user: string, first: number, last: number): Promise<void> {
    const numbers = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    await this.publish(
      "order.completed",
      ...numbers.map((number) => ({ userId: user, orderId: String(number) })),
    );
  }

  examples(user: string): Promise<string[]> {
    return this.#order({ do: "examples", user });
  }

  schema(): Promise<object> {
    return this.#order({ do: "schema" });
  }

  kill(node: number): Promise<void> {
    return this.#order({ do: "kill", node });
  }

  drain(node: number): Promise<void> {
    return this.#order({ do: "drain", node });
  }

  start(node: number): Promise<void> {
    return this.#order({ do: "start", node });
  }

  /** Return when a client with this position is told that it is too far back. */
  async windowPassed(since: object): Promise<void> {
    let asked = 0;
    do {
      // The window moves on with what comes in. Each asks but once: nobody may connect all the time.
      await this.publishOrders("somebody-else", 1, 1);
      asked += 1;
    } while (await this.#recovers(await this.token(`probe-${asked}`), since));
  }

  /** Say hello once, and tell whether the position could be resumed from. */
  #recovers(token: string, since: object): Promise<boolean> {
    const socket = new WebSocket(this.url);
    return new Promise<boolean>((resolve, reject) => {
      socket.once("error", reject);
      socket.once("close", (code, reason) => reject(new Error(`closed with ${code} ${reason}`)));
      socket.once("open", () => socket.send(JSON.stringify({ op: "hello", token, since })));
      socket.once("message", (text) => resolve(JSON.parse(String(text)).data.recovered));
    }).finally(() => socket.close());
  }

  #order<T>(order: object): Promise<T> {
    const id = ++this.#lastId;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process.stdin.write(`${JSON.stringify({ id, ...order })}\n`);
    });
  }

  #answered({ id, value, error }: { id: number; value?: never; error?: string }): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new Error(error));
    else waiting?.resolve(value as never);
  }
}

/** Hands each connection to the first node that takes it, as a balancer before a cluster does. */
export class Balancer {
  #server: Server | undefined;
  #ports: number[] = [];
  #lines: [Socket, Socket | undefined][] = [];
  #refusing = false;

  async open(ports: number[]): Promise<void> {
    this.#ports = ports;
    this.#server = createServer((near) => this.#accept(near));
    await new Promise<void>((resolve) => this.#server?.listen(0, "127.0.0.1", resolve));
  }

  get port(): number {
    const address = this.#server?.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  /** Nothing arrives any more on the connections that there are, and nobody is told. */
  swallow(): void {
    for (const ends of this.#lines) {
      for (const end of ends) {
        end?.unpipe();
        end?.pause();
      }
    }
  }

  /** End every connection, and take none until told otherwise. */
  refuse(refusing: boolean): void {
    this.#refusing = refusing;
    if (refusing) this.#cut();
  }

  close(): void {
    this.#server?.close();
    this.#cut();
  }

  #cut(): void {
    for (const ends of this.#lines.splice(0)) for (const end of ends) end?.destroy();
  }

  #accept(near: Socket): void {
    near.on("error", () => near.destroy());
    if (this.#refusing) near.destroy();
    else this.#try(near, [...this.#ports]);
  }

  #try(near: Socket, [port, ...others]: number[]): void {
    if (port === undefined) {
      near.destroy();
      return;
    }
    const far = dial(port, "127.0.0.1");
    far.once("error", () => this.#try(near, others));
    far.once("connect", () => {
      far.removeAllListeners("error");
      far.on("error", () => near.destroy());
      far.once("close", () => near.destroy());
      near.once("close", () => far.destroy());
      near.pipe(far);
      far.pipe(near);
      this.#lines.push([near, far]);
    });
  }
}
