// Many items: batches with their leftovers, pages of queries and scans.
import assert from "node:assert/strict";
import { dropped, fails, made } from "./scenarios.mjs";

const TableName = "rooms";

export async function many(sdk) {
  const room = `${sdk.name} many`;
  const who = `${sdk.name} anna`;
  await fill(sdk, room, who);
  await queries(sdk, room, who);
  await scans(sdk, room);
  await leftovers(sdk);
}

/** Writes every request, again and again what the service left; returns the calls made. */
async function writeAll(sdk, table, requests) {
  let calls = 0;
  for (let i = 0; i < requests.length; i += 25) {
    let RequestItems = { [table]: requests.slice(i, i + 25) };
    while (Object.keys(RequestItems).length) {
      calls++;
      assert.ok(calls < 100, "UnprocessedItems never ends");
      const out = await sdk.doc("BatchWrite", { RequestItems });
      RequestItems = out.UnprocessedItems ?? {};
    }
  }
  return calls;
}

async function fill(sdk, room, who) {
  const puts = [];
  for (let seq = 0; seq < 60; seq++) {
    const Item = { room, seq, kind: seq % 2 ? "odd" : "even", score: 1000 - seq };
    puts.push({ PutRequest: { Item: seq % 3 === 0 ? { ...Item, who } : Item } });
  }
  await writeAll(sdk, TableName, puts);
  await writeAll(sdk, TableName, [58, 59].map((seq) => ({ DeleteRequest: { Key: { room, seq } } })));
  const twice = { PutRequest: { Item: { room, seq: 0 } } };
  await fails(sdk, "doc", "BatchWrite", { RequestItems: { [TableName]: [twice, twice] } }, "ValidationException", "Provided list of item keys contains duplicates");
  const more = Array.from({ length: 26 }, (_, seq) => ({ PutRequest: { Item: { room: "x", seq } } }));
  await fails(sdk, "doc", "BatchWrite", { RequestItems: { [TableName]: more } }, "ValidationException");
}

const all = (pages) => pages.flatMap((page) => page.Items);

async function queries(sdk, room, who) {
  const inRoom = { TableName, KeyConditionExpression: "room = :r", ExpressionAttributeValues: { ":r": room } };
  const pages = await sdk.pages("Query", { ...inRoom, Limit: 7 });
  assert.deepEqual(all(pages).map((i) => i.seq), Array.from({ length: 58 }, (_, i) => i));
  assert.ok(pages.length === 9 && pages.every((page) => page.Items.length <= 7), `${pages.length} pages`);

  const back = await sdk.pages("Query", {
    ...inRoom,
    KeyConditionExpression: "room = :r AND seq BETWEEN :a AND :b",
    FilterExpression: "kind = :k",
    ExpressionAttributeValues: { ":r": room, ":a": 10, ":b": 20, ":k": "odd" },
    ScanIndexForward: false,
    Limit: 4,
  });
  assert.deepEqual(all(back).map((i) => i.seq), [19, 17, 15, 13, 11]);
  assert.equal(back.reduce((n, page) => n + page.ScannedCount, 0), 11);

  const gsi = await sdk.pages("Query", { TableName, IndexName: "byWho", KeyConditionExpression: "who = :w AND seq < :m", ExpressionAttributeValues: { ":w": who, ":m": 10 }, Limit: 1 });
  assert.deepEqual(all(gsi), [0, 3, 6, 9].map((seq) => ({ room, seq, who, kind: seq % 2 ? "odd" : "even" })));
  const lsi = await sdk.pages("Query", {
    TableName,
    IndexName: "byScore",
    ConsistentRead: true,
    KeyConditionExpression: "room = :r AND score >= :s",
    ExpressionAttributeValues: { ":r": room, ":s": 996 },
    ProjectionExpression: "score",
    Limit: 2,
  });
  assert.deepEqual(all(lsi), [996, 997, 998, 999, 1000].map((score) => ({ score })));
  const { Count, Items } = await sdk.doc("Query", { ...inRoom, Select: "COUNT" });
  assert.deepEqual([Count, Items], [58, undefined]);
  const on = await sdk.doc("Query", { ...inRoom, Limit: 2, ExclusiveStartKey: { room, seq: 30 } });
  assert.deepEqual([on.Items.map((i) => i.seq), on.LastEvaluatedKey], [[31, 32], { room, seq: 32 }]);
}

async function scans(sdk, room) {
  const filter = { TableName, FilterExpression: "room = :r", ExpressionAttributeValues: { ":r": room } };
  const TotalSegments = 4;
  const segments = await Promise.all(
    Array.from({ length: TotalSegments }, (_, Segment) => sdk.pages("Scan", { ...filter, Segment, TotalSegments, Limit: 9 })),
  );
  const seen = segments.flatMap(all).map((i) => i.seq);
  assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: 58 }, (_, i) => i));
  const whole = await sdk.pages("Scan", { ...filter, Limit: 11 });
  assert.equal(all(whole).length, 58);
  assert.ok(whole.length > 5);
  await fails(sdk, "doc", "Scan", { TableName, Segment: 4, TotalSegments }, "ValidationException");
}

// 17 MB are more than one BatchGetItem answers: the rest comes as UnprocessedKeys.
async function leftovers(sdk) {
  const table = `${sdk.name}-large`;
  await made(sdk, table);
  const blob = Buffer.alloc(290 * 1024, 7);
  const ids = Array.from({ length: 60 }, (_, i) => `large-${i}`);
  await writeAll(sdk, table, ids.map((id) => ({ PutRequest: { Item: { id, blob } } })));
  let RequestItems = { [table]: { Keys: ids.map((id) => ({ id })), ConsistentRead: true } };
  const got = [];
  let calls = 0;
  while (Object.keys(RequestItems).length) {
    calls++;
    assert.ok(calls < 10, "UnprocessedKeys never ends");
    const out = await sdk.doc("BatchGet", { RequestItems });
    got.push(...out.Responses[table].map((item) => item.id));
    RequestItems = out.UnprocessedKeys ?? {};
    assert.ok(!RequestItems[table] || RequestItems[table].ConsistentRead === true);
  }
  assert.deepEqual(got.sort(), ids.sort());
  assert.equal(calls, 2, "BatchGet: 17 MB take two calls");
  await dropped(sdk, table);
}
