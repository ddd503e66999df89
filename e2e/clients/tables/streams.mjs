// Streams: every view, every kind of iterator, the template's table.
import assert from "node:assert/strict";
import { dropped, fails, made } from "./scenarios.mjs";

export async function streams(sdk) {
  for (const view of ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"]) {
    await oneView(sdk, view);
  }
  await declaredTable(sdk);
}

async function oneView(sdk, StreamViewType) {
  const TableName = `${sdk.name}-${StreamViewType}`;
  const { LatestStreamArn: StreamArn } = await made(sdk, TableName, { StreamSpecification: { StreamEnabled: true, StreamViewType } });
  const Key = { id: "x" };
  await sdk.doc("Put", { TableName, Item: { ...Key, n: 1 } });
  await sdk.doc("Put", { TableName, Item: { ...Key, n: 1 } }); // changes nothing: no record
  await sdk.doc("Update", { TableName, Key, UpdateExpression: "ADD n :one", ExpressionAttributeValues: { ":one": 1 } });
  await sdk.doc("Delete", { TableName, Key });

  const { Streams } = await sdk.streams("ListStreams", { TableName });
  assert.deepEqual(Streams.map((s) => [s.StreamArn, s.TableName]), [[StreamArn, TableName]]);
  const { StreamDescription } = await sdk.streams("DescribeStream", { StreamArn });
  assert.deepEqual([StreamDescription.StreamStatus, StreamDescription.StreamViewType], ["ENABLED", StreamViewType]);
  assert.deepEqual(StreamDescription.KeySchema, [{ AttributeName: "id", KeyType: "HASH" }]);
  const [{ ShardId }] = StreamDescription.Shards;
  const iterator = async (ShardIteratorType, SequenceNumber) =>
    (await sdk.streams("GetShardIterator", { StreamArn, ShardId, ShardIteratorType, SequenceNumber })).ShardIterator;

  const latest = await iterator("LATEST");
  const records = [];
  let ShardIterator = await iterator("TRIM_HORIZON");
  for (let page = 0; page < 4; page++) {
    const out = await sdk.streams("GetRecords", { ShardIterator, Limit: 2 });
    records.push(...out.Records);
    ShardIterator = out.NextShardIterator;
  }
  assert.deepEqual(records.map((r) => r.eventName), ["INSERT", "MODIFY", "REMOVE"]);
  const image = (n) => ({ id: { S: "x" }, n: { N: String(n) } });
  const fresh = StreamViewType.startsWith("NEW");
  const old = StreamViewType.includes("OLD");
  assert.deepEqual(records.map((r) => r.dynamodb.NewImage), fresh ? [image(1), image(2), undefined] : [undefined, undefined, undefined]);
  assert.deepEqual(records.map((r) => r.dynamodb.OldImage), old ? [undefined, image(1), image(2)] : [undefined, undefined, undefined]);
  for (const r of records) {
    assert.deepEqual(r.dynamodb.Keys, { id: { S: "x" } });
    assert.deepEqual([r.eventSource, r.eventVersion, r.dynamodb.StreamViewType], ["aws:dynamodb", "1.1", StreamViewType]);
    assert.ok(r.dynamodb.ApproximateCreationDateTime instanceof Date);
  }
  const numbers = records.map((r) => BigInt(r.dynamodb.SequenceNumber));
  assert.ok(numbers[0] < numbers[1] && numbers[1] < numbers[2]);

  const second = records[1].dynamodb.SequenceNumber;
  const from = async (type) => (await sdk.streams("GetRecords", { ShardIterator: await iterator(type, second) })).Records.map((r) => r.eventName);
  assert.deepEqual(await from("AT_SEQUENCE_NUMBER"), ["MODIFY", "REMOVE"]);
  assert.deepEqual(await from("AFTER_SEQUENCE_NUMBER"), ["REMOVE"]);
  assert.deepEqual((await sdk.streams("GetRecords", { ShardIterator: latest })).Records, []);
  await sdk.doc("Put", { TableName, Item: { id: "later" } });
  const after = await sdk.streams("GetRecords", { ShardIterator: latest });
  assert.deepEqual(after.Records.map((r) => r.dynamodb.Keys.id.S), ["later"]);
  await fails(sdk, "streams", "GetRecords", { ShardIterator: "nonsense" }, "ValidationException");
  await fails(sdk, "streams", "DescribeStream", { StreamArn: `${StreamArn.slice(0, -23)}2001-01-01T00:00:00.000` }, "ResourceNotFoundException");
  await dropped(sdk, TableName);
}

// The stream of the declared table has everything that happened above, whole
// transactions included.
async function declaredTable(sdk) {
  const { Streams } = await sdk.streams("ListStreams", { TableName: "rooms" });
  const { StreamDescription } = await sdk.streams("DescribeStream", { StreamArn: Streams[0].StreamArn });
  const seen = [];
  for (const { ShardId } of StreamDescription.Shards) {
    let { ShardIterator } = await sdk.streams("GetShardIterator", { StreamArn: Streams[0].StreamArn, ShardId, ShardIteratorType: "TRIM_HORIZON" });
    for (;;) {
      const page = await sdk.streams("GetRecords", { ShardIterator, Limit: 100 });
      if (!page.Records.length) {
        break;
      }
      seen.push(...page.Records);
      ShardIterator = page.NextShardIterator;
    }
  }
  const of = (group) => seen.filter((r) => r.dynamodb.Keys.room.S === `${sdk.name} ${group}`).map((r) => `${r.eventName} ${r.dynamodb.Keys.seq.N}`);
  assert.equal(of("many").filter((e) => e.startsWith("INSERT")).length, 60);
  assert.deepEqual(of("many").filter((e) => e.startsWith("REMOVE")).sort(), ["REMOVE 58", "REMOVE 59"]);
  const transacted = of("transactions");
  assert.deepEqual(transacted.slice(0, 3).sort(), ["INSERT 1", "INSERT 2", "INSERT 3"]);
  assert.deepEqual(transacted.slice(3, 5).sort(), ["MODIFY 1", "REMOVE 3"]);
}
