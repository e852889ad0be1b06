"""redis-py against a node: sync, asyncio and the cluster client, every group of commands. Usage: python.py HOST PORT"""

import asyncio
import sys
import time
import warnings

import redis
import redis.asyncio
from redis.cluster import RedisCluster
from redis.exceptions import AuthenticationError, ExecAbortError, ResponseError, WatchError


# SETEX and its kin are deprecated in favour of SET's options, and driven all the same.
warnings.simplefilter("ignore")


def expect(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


def refused(call, *words):
    try:
        found = call()
    except (AuthenticationError, ResponseError) as error:
        for word in words:
            assert word in str(error), f"{error} does not say {word}"
    else:
        raise AssertionError(f"not refused: {found!r}")


def strings(r):
    r.flushall()
    expect(r.set("s", "v"), True)
    expect(r.get("s"), b"v")
    expect(r.get("nokey"), None)
    expect(r.set("s", "w", nx=True), None)
    expect(r.set("s", "w", xx=True, get=True), b"v")
    expect(r.set("s", "w", ex=1000, keepttl=False), True)
    assert 990 < r.ttl("s") <= 1000
    expect(r.setnx("s", "x"), False)
    expect(r.setex("e", 1000, "1"), True)
    expect(r.psetex("e", 1000000, "1"), True)
    expect(r.getset("s", "v"), b"w")
    expect(r.getdel("e"), b"1")
    expect(r.getex("s", ex=1000), b"v")
    expect(r.mset({"a": 1, "b": 2, "c": 3}), True)
    expect(r.msetnx({"a": 1, "d": 2}), False)
    expect(r.mget("a", "b", "nokey", "c"), [b"1", b"2", None, b"3"])
    expect(r.append("s", "vv"), 3)
    expect(r.strlen("s"), 3)
    expect(r.getrange("s", 1, -1), b"vv")
    expect(r.setrange("s", 5, "x"), 6)
    expect(r.get("s"), b"vvv\0\0x")
    expect(r.incr("a"), 2)
    expect(r.incrby("a", 10), 12)
    expect(r.decr("a"), 11)
    expect(r.decrby("a", 10), 1)
    expect(r.incrbyfloat("a", 0.5), 1.5)
    refused(lambda: r.incr("s"), "not an integer")
    binary = bytes(range(256)) * 40
    expect(r.set(binary, binary), True)
    expect(r.get(binary), binary)
    large = b"x" * (1 << 20)
    expect(r.set("large", large), True)
    expect(r.get("large"), large)


def keys(r):
    r.flushall()
    r.mset({f"k:{number}": number for number in range(300)})
    expect(r.dbsize(), 300)
    expect(len(r.keys("k:*")), 300)
    expect(len(set(r.scan_iter(match="k:1*", count=17))), 111)
    assert r.randomkey().startswith(b"k:")
    expect(r.delete("k:0", "k:1", "nokey"), 2)
    expect(r.unlink("k:2"), 1)
    expect(r.exists("k:3", "k:3", "nokey"), 2)
    expect(r.touch("k:3", "nokey"), 1)
    expect(r.expire("k:3", 1000), True)
    expect(r.expire("k:3", 2000, nx=True), False)
    expect(r.expire("k:3", 2000, gt=True), True)
    expect(r.pexpire("k:3", 5000000), True)
    when = int(time.time()) + 10000
    expect(r.expireat("k:3", when), True)
    expect(r.expiretime("k:3"), when)
    expect(r.pexpireat("k:3", when * 1000), True)
    expect(r.pexpiretime("k:3"), when * 1000)
    assert 9000 < r.ttl("k:3") <= 10000
    assert r.pttl("k:3") > 9000000
    expect(r.persist("k:3"), True)
    expect(r.ttl("k:3"), -1)
    expect(r.ttl("nokey"), -2)
    expect(r.type("k:3"), b"string")
    expect(r.rename("k:3", "r"), True)
    expect(r.renamenx("k:4", "r"), False)
    expect(r.copy("r", "k:5"), False)
    expect(r.copy("r", "k:5", replace=True), True)
    expect(r.get("k:5"), b"3")
    expect(r.object("encoding", "r"), b"int")
    expect(r.object("idletime", "r"), 0)
    assert r.memory_usage("r") > 0
    expect(r.wait(0, 10), 0)
    refused(lambda: r.hset("h", "f", "v"), "hset", "not supported")
    refused(lambda: r.lpush("l", "v"), "lpush", "not supported")
    expect(r.flushdb(), True)
    expect(r.dbsize(), 0)


def transactions(r):
    r.flushall()
    with r.pipeline() as pipe:
        pipe.set("a", 1).incr("a").get("a").mget("a", "b").exists("a", "b")
        expect(pipe.execute(), [True, 2, b"2", [b"2", None], 1])
    with r.pipeline() as pipe:
        pipe.watch("a")
        r.set("a", 10)
        pipe.multi()
        pipe.set("b", 1)
        try:
            pipe.execute()
            raise AssertionError("a watched key had changed")
        except WatchError:
            pass
    with r.pipeline() as pipe:
        pipe.watch("a")
        found = int(pipe.get("a"))
        pipe.multi()
        pipe.set("b", found + 1)
        expect(pipe.execute(), [True])
    expect(r.get("b"), b"11")
    with r.pipeline() as pipe:
        pipe.set("a", "text")
        pipe.incr("a")
        pipe.set("c", 1)
        found = pipe.execute(raise_on_error=False)
        assert isinstance(found[1], ResponseError)
        expect(found[2], True)
    with r.pipeline() as pipe:
        pipe.set("a", 1)
        pipe.execute_command("SET", "a")
        try:
            pipe.execute()
            raise AssertionError("a command was malformed")
        except (ExecAbortError, ResponseError):
            pass

    def increment(pipe):
        pipe.multi()
        pipe.incr("n")

    expect(r.transaction(increment, "n"), [1])
    with r.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"p:{number % 97}", number)
        expect(pipe.execute(), [True] * 5000)


def connection(r, address):
    expect(r.ping(), True)
    expect(r.echo("x"), b"x")
    # A server without a password refuses AUTH with one alone.
    refused(lambda: r.execute_command("AUTH", "x"), "AUTH")
    host, port = address
    other = redis.Redis(host, port, db=3, client_name="named")
    other.set("in three", 1)
    expect(r.exists("in three"), 0)
    expect(other.client_getname(), "named")
    assert other.client_id() > 0
    assert other.client_info()["name"] == "named"
    assert any(client["name"] == "named" for client in r.client_list())
    expect(other.flushdb(), True)
    expect(r.client_kill_filter(_id=other.client_id()), 1)
    expect(other.ping(), True)
    expect(r.client_setname("mine"), True)
    expect(r.client_no_evict("ON"), b"OK")


def server(r):
    assert r.info()["redis_version"]
    assert "used_memory" in r.info("memory")
    expect(r.info("replication")["role"], "master")
    r.set("x", 1)
    assert r.info("keyspace")["db0"]["keys"] >= 1
    assert r.config_get("maxmemory*")
    expect(r.config_set("slowlog-log-slower-than", 0), True)
    expect(r.config_resetstat(), True)
    r.get("slow one")
    assert r.slowlog_len() >= 0
    r.slowlog_get(5)
    expect(r.slowlog_reset(), True)
    expect(r.config_set("slowlog-log-slower-than", 10000), True)
    assert r.command_count() > 70
    assert "get" in r.command()
    assert r.execute_command("COMMAND DOCS", "get")
    assert r.command_getkeys("SET", "a", "b")[0] in ("a", b"a")
    assert abs(r.time()[0] - time.time()) < 3600
    expect(r.role()[0], b"master")
    expect(r.latency_latest(), [])
    r.lastsave()


def cluster(address):
    host, port = address
    r = RedisCluster(host=host, port=port)
    for number in range(200):
        expect(r.set(f"c:{number}", number), True)
    for number in range(200):
        expect(r.get(f"c:{number}"), str(number).encode())
    expect(r.mget("{t}1", "{t}2"), [None, None])
    expect(r.mset_nonatomic({"x": 1, "y": 2, "z": 3}), [True, True, True])
    expect(r.mget_nonatomic("x", "y", "z"), [b"1", b"2", b"3"])
    expect(r.delete("x", "y", "z"), 3)
    with r.pipeline() as pipe:
        for number in range(100):
            pipe.incr(f"c:{number}")
        expect(pipe.execute(), [number + 1 for number in range(100)])
    expect(len(r.get_nodes()), 1)
    expect(r.keyslot("foo"), 12182)
    expect(r.cluster_keyslot("foo"), 12182)
    expect(r.cluster_info()["cluster_state"], "ok")
    expect(len(list(r.scan_iter(match="c:*"))), 200)
    r.close()


async def asynchronous(address, protocol):
    host, port = address
    r = redis.asyncio.Redis(host=host, port=port, protocol=protocol)
    await r.flushall()
    expect(await r.set("a", 1), True)
    expect(await asyncio.gather(*(r.incr("n") for _ in range(50))) and await r.get("n"), b"50")
    async with r.pipeline(transaction=True) as pipe:
        expect(await pipe.set("a", 2).get("a").execute(), [True, b"2"])
    expect(sorted([key async for key in r.scan_iter()]), [b"a", b"n"])
    expect(await r.mget("a", "nokey"), [b"2", None])
    expect(await r.expire("a", 100), True)
    await r.aclose()


def main():
    address = (sys.argv[1], int(sys.argv[2]))
    for protocol in (2, 3):
        r = redis.Redis(*address, protocol=protocol)
        strings(r)
        keys(r)
        transactions(r)
        connection(r, address)
        server(r)
        r.close()
        asyncio.run(asynchronous(address, protocol))
    cluster(address)


main()
