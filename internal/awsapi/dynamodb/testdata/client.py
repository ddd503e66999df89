"""Drives a DynamoDB endpoint the way Python samples do. Prints "ok" at the end."""
import decimal
import sys

import boto3
from boto3.dynamodb.conditions import Attr, Key
from botocore.config import Config
from botocore.exceptions import ClientError

url = sys.argv[1]
config = Config(retries={"max_attempts": 1})
db = boto3.resource("dynamodb", endpoint_url=url, config=config)
client = boto3.client("dynamodb", endpoint_url=url, config=config)

table = db.create_table(
    TableName="rooms",
    KeySchema=[{"AttributeName": "room", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
    AttributeDefinitions=[{"AttributeName": "room", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "N"}],
    BillingMode="PAY_PER_REQUEST",
    StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
)
table.wait_until_exists()

with table.batch_writer() as batch:
    for i in range(60):
        batch.put_item(Item={"room": "lobby", "at": i, "who": {"name": f"user-{i}", "tags": {"a", "b"}}, "even": i % 2 == 0})

assert table.get_item(Key={"room": "lobby", "at": 7})["Item"]["who"]["name"] == "user-7"
assert "Item" not in table.get_item(Key={"room": "lobby", "at": 700})

page = table.query(
    KeyConditionExpression=Key("room").eq("lobby") & Key("at").between(10, 19),
    FilterExpression=Attr("even").eq(True) & Attr("who.tags").contains("a"),
    ScanIndexForward=False,
)
assert [int(i["at"]) for i in page["Items"]] == [18, 16, 14, 12, 10], page
assert page["ScannedCount"] == 10

seen = 0
for page in client.get_paginator("scan").paginate(TableName="rooms", PaginationConfig={"PageSize": 7}):
    seen += page["Count"]
assert seen == 60, seen

new = table.update_item(
    Key={"room": "lobby", "at": 1},
    UpdateExpression="SET #w.score = if_not_exists(#w.score, :zero) + :d ADD visits :one",
    ExpressionAttributeNames={"#w": "who"},
    ExpressionAttributeValues={":zero": 0, ":d": decimal.Decimal("1.25"), ":one": 1},
    ReturnValues="ALL_NEW",
)["Attributes"]
assert new["who"]["score"] == decimal.Decimal("1.25") and new["visits"] == 1, new

try:
    table.delete_item(Key={"room": "lobby", "at": 1}, ConditionExpression=Attr("visits").gt(5))
    raise AssertionError("the condition held")
except ClientError as e:
    assert e.response["Error"] == {"Message": "The conditional request failed", "Code": "ConditionalCheckFailedException"}, e.response
    assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 400

try:
    client.transact_write_items(TransactItems=[
        {"Update": {"TableName": "rooms", "Key": {"room": {"S": "lobby"}, "at": {"N": "2"}}, "UpdateExpression": "SET x = :x", "ExpressionAttributeValues": {":x": {"S": "y"}}}},
        {"ConditionCheck": {"TableName": "rooms", "Key": {"room": {"S": "gone"}, "at": {"N": "2"}}, "ConditionExpression": "attribute_exists(room)"}},
    ])
    raise AssertionError("the transaction went through")
except client.exceptions.TransactionCanceledException as e:
    assert [r["Code"] for r in e.response["CancellationReasons"]] == ["None", "ConditionalCheckFailed"], e.response
assert "x" not in table.get_item(Key={"room": "lobby", "at": 2})["Item"]

client.transact_write_items(TransactItems=[
    {"Put": {"TableName": "rooms", "Item": {"room": {"S": "hall"}, "at": {"N": str(n)}}}} for n in range(3)
], ClientRequestToken="once")
assert table.query(KeyConditionExpression=Key("room").eq("hall"))["Count"] == 3

streams = boto3.client("dynamodbstreams", endpoint_url=url, config=config)
arn = streams.list_streams(TableName="rooms")["Streams"][0]["StreamArn"]
events = []
for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
    at = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    while at:
        page = streams.get_records(ShardIterator=at, Limit=25)
        if not page["Records"]:
            break
        events += [(r["eventName"], r["dynamodb"]["Keys"]["room"]["S"]) for r in page["Records"]]
        at = page.get("NextShardIterator")
assert events == [("INSERT", "lobby")] * 60 + [("MODIFY", "lobby")] + [("INSERT", "hall")] * 3, events

table.delete()
table.wait_until_not_exists()
print("ok")
