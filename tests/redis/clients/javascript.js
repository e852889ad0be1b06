// ioredis against a node: every group of commands. Usage: javascript.js HOST PORT, with NODE_PATH where ioredis is.

const assert = require("node:assert/strict");
const Redis = require("ioredis");

const [host, port] = [process.argv[2], Number(process.argv[3])];

async function refused(promise, word) {
  await assert.rejects(promise, (error) => error.message.includes(word));
}

async function strings(r) {
  assert.equal(await r.set("s", "v"), "OK");
  assert.equal(await r.get("s"), "v");
  assert.equal(await r.get("nokey"), null);
  assert.equal(await r.set("s", "w", "NX"), null);
  assert.equal(await r.set("s", "w", "XX", "GET"), "v");
  assert.equal(await r.set("s", "w", "EX", 1000), "OK");
  assert.equal(await r.setnx("s", "x"), 0);
  assert.equal(await r.setex("e", 1000, "1"), "OK");
  assert.equal(await r.psetex("e", 1000000, "1"), "OK");
  assert.equal(await r.getset("s", "v"), "w");
  assert.equal(await r.getdel("e"), "1");
  assert.equal(await r.getex("s", "PERSIST"), "v");
  assert.equal(await r.mset({ a: 1, b: 2, c: 3 }), "OK");
  assert.equal(await r.msetnx("a", 1, "d", 2), 0);
  assert.deepEqual(await r.mget("a", "b", "nokey"), ["1", "2", null]);
  assert.equal(await r.append("s", "vv"), 3);
  assert.equal(await r.strlen("s"), 3);
  assert.equal(await r.getrange("s", 1, -1), "vv");
  assert.equal(await r.setrange("s", 4, "x"), 5);
  assert.equal(await r.incr("a"), 2);
  assert.equal(await r.incrby("a", 10), 12);
  assert.equal(await r.decr("a"), 11);
  assert.equal(await r.decrby("a", 10), 1);
  assert.equal(await r.incrbyfloat("a", 0.5), "1.5");
  await refused(r.incr("s"), "not an integer");
  const binary = Buffer.from(Array.from({ length: 10000 }, (_, at) => at % 256));
  assert.equal(await r.set(binary, binary), "OK");
  assert.deepEqual(await r.getBuffer(binary), binary);
}

async function keys(r) {
  await r.flushall();
  for (let number = 0; number < 100; number++) await r.set(`k:${number}`, number);
  assert.equal(await r.dbsize(), 100);
  assert.equal((await r.keys("k:*")).length, 100);
  const found = new Set();
  for await (const page of r.scanStream({ match: "k:*", count: 7 })) page.forEach((key) => found.add(key));
  assert.equal(found.size, 100);
  assert.ok((await r.randomkey()).startsWith("k:"));
  assert.equal(await r.del("k:0", "k:1", "nokey"), 2);
  assert.equal(await r.unlink("k:2"), 1);
  assert.equal(await r.exists("k:3", "k:3"), 2);
  assert.equal(await r.touch("k:3"), 1);
  assert.equal(await r.expire("k:3", 1000), 1);
  assert.equal(await r.pexpire("k:3", 5000, "GT"), 0);
  assert.ok((await r.ttl("k:3")) > 900);
  assert.ok((await r.pttl("k:3")) > 900000);
  const when = Math.floor(Date.now() / 1000) + 10000;
  assert.equal(await r.expireat("k:3", when), 1);
  assert.equal(await r.expiretime("k:3"), when);
  assert.equal(await r.pexpireat("k:3", when * 1000), 1);
  assert.equal(await r.pexpiretime("k:3"), when * 1000);
  assert.equal(await r.persist("k:3"), 1);
  assert.equal(await r.type("k:3"), "string");
  assert.equal(await r.rename("k:3", "r"), "OK");
  assert.equal(await r.renamenx("k:4", "r"), 0);
  assert.equal(await r.copy("r", "r2"), 1);
  assert.equal(await r.object("ENCODING", "r"), "int");
  assert.ok((await r.memory("USAGE", "r")) > 0);
  await refused(r.hset("h", "f", "v"), "not supported");
}

async function transactions(r, other) {
  await r.flushall();
  assert.deepEqual(await r.multi().set("a", 1).incr("a").mget("a", "b").exec(), [
    [null, "OK"],
    [null, 2],
    [null, ["2", null]],
  ]);
  await r.watch("a");
  await other.set("a", 10);
  assert.equal(await r.multi().set("b", 1).exec(), null);
  await r.watch("a");
  assert.deepEqual(await r.multi().set("b", 1).exec(), [[null, "OK"]]);
  assert.equal(await r.unwatch(), "OK");
  await r.multi({ pipeline: false });
  assert.equal(await r.set("c", 1), "QUEUED");
  assert.equal(await r.discard(), "OK");
  assert.equal(await r.get("c"), null);
  const pipeline = r.pipeline();
  for (let number = 0; number < 5000; number++) pipeline.set(`p:${number % 97}`, number);
  assert.ok((await pipeline.exec()).every(([error, reply]) => error === null && reply === "OK"));
}

async function node(r, other) {
  assert.equal(await r.ping(), "PONG");
  assert.equal(await r.echo("x"), "x");
  assert.equal(await r.select(2), "OK");
  assert.equal(await r.select(0), "OK");
  assert.equal(await r.client("SETNAME", "mine"), "OK");
  assert.equal(await r.client("GETNAME"), "mine");
  const id = await other.client("ID");
  assert.ok((await r.client("LIST")).includes(`id=${id} `));
  assert.equal(await r.client("KILL", "ID", id), 1);
  assert.equal(await other.ping(), "PONG");
  assert.ok((await r.info()).includes("redis_version:"));
  assert.deepEqual(await r.config("GET", "maxmemory"), ["maxmemory", "0"]);
  assert.ok((await r.command("COUNT")) > 70);
  assert.equal(await r.slowlog("RESET"), "OK");
  assert.equal(await r.slowlog("LEN"), 0);
  assert.equal(await r.wait(0, 1), 0);
  assert.equal((await r.role())[0], "master");
  assert.equal((await r.time()).length, 2);
}

async function cluster() {
  const r = new Redis.Cluster([{ host, port }]);
  for (let number = 0; number < 200; number++) assert.equal(await r.set(`c:${number}`, number), "OK");
  for (let number = 0; number < 200; number++) assert.equal(await r.get(`c:${number}`), `${number}`);
  assert.equal(r.nodes("master").length, 1);
  assert.equal(await r.cluster("KEYSLOT", "foo"), 12182);
  r.disconnect();
}

async function main() {
  const [r, other] = [new Redis({ host, port }), new Redis({ host, port })];
  other.on("error", () => {});
  await strings(r);
  await keys(r);
  await transactions(r, other);
  await node(r, other);
  await cluster();
  r.disconnect();
  other.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
