"""boto3 on the tables of a running Livegate (AWS_ENDPOINT_URL): waiters, paginators, transactions, streams."""
import time
from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

client = boto3.client("dynamodb")
resource = boto3.resource("dynamodb")
rooms = resource.Table("rooms")


def fails(code, call, **params):
    """The answer to a call that must fail with this error."""
    try:
        call(**params)
    except ClientError as err:
        assert err.response["Error"]["Code"] == code, err.response
        assert err.response["ResponseMetadata"]["HTTPStatusCode"] == 400, err.response
        return err.response
    raise AssertionError(f"{code} expected of {params}")


def until(what, probe):
    deadline = time.monotonic() + 20
    while not probe():
        assert time.monotonic() < deadline, f"not within 20 s: {what}"
        time.sleep(0.05)


def control():
    names = [f"py-listed-{x}" for x in "abc"]
    for name in names:
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    pages = list(client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1}))
    listed = [name for page in pages for name in page["TableNames"]]
    assert len(pages) >= 4 and [n for n in listed if n in names] == names and "rooms" in listed, pages

    name = names[0]
    arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "chat"}])
    tags = [t for page in client.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn) for t in page["Tags"]]
    assert tags == [{"Key": "team", "Value": "chat"}], tags
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"AttributeName": "gone", "Enabled": True})
    until("TTL", lambda: client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED")

    with resource.Table(name).batch_writer() as batch:
        for i in range(30):
            batch.put_item(Item={"id": str(i), "colour": "red" if i % 3 == 0 else "blue"})
    create = {"IndexName": "byColour", "KeySchema": [{"AttributeName": "colour", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    client.update_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "colour", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": create}],
    )
    until("index", lambda: client.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE")
    red = resource.Table(name).query(IndexName="byColour", KeyConditionExpression=Key("colour").eq("red"))
    assert sorted(int(i["id"]) for i in red["Items"]) == list(range(0, 30, 3)), red
    client.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "byColour"}}])
    until("no index", lambda: not client.describe_table(TableName=name)["Table"].get("GlobalSecondaryIndexes"))
    for name in names:
        client.delete_table(TableName=name)
        client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    fails("ResourceNotFoundException", client.describe_table, TableName=names[0])


def pages():
    with rooms.batch_writer() as batch:
        for seq in range(50):
            batch.put_item(Item={"room": "py", "seq": seq, "who": "py anna" if seq % 5 == 0 else "py bert", "score": Decimal(1000 - seq), "kind": "k"})
    query = {
        "TableName": "rooms",
        "KeyConditionExpression": "room = :r",
        "ExpressionAttributeValues": {":r": {"S": "py"}},
        "PaginationConfig": {"PageSize": 7},
    }
    found = [int(i["seq"]["N"]) for page in client.get_paginator("query").paginate(**query) for i in page["Items"]]
    assert found == list(range(50)), found
    query |= {"IndexName": "byScore", "ScanIndexForward": False}
    found = [int(i["score"]["N"]) for page in client.get_paginator("query").paginate(**query) for i in page["Items"]]
    assert found == list(range(1000, 950, -1)), found
    on = client.get_paginator("query").paginate(**(query | {"PaginationConfig": {"PageSize": 7, "MaxItems": 10}})).build_full_result()
    assert len(on["Items"]) == 10 and "NextToken" in on, on
    anna = rooms.query(IndexName="byWho", KeyConditionExpression=Key("who").eq("py anna") & Key("seq").gte(10))
    assert [int(i["seq"]) for i in anna["Items"]] == list(range(10, 50, 5)) and "score" not in anna["Items"][0], anna

    seen = []
    for segment in range(3):
        scan = {"TableName": "rooms", "Segment": segment, "TotalSegments": 3, "PaginationConfig": {"PageSize": 6}}
        for page in client.get_paginator("scan").paginate(**scan):
            seen += [int(i["seq"]["N"]) for i in page["Items"] if i["room"]["S"] == "py"]
    assert sorted(seen) == list(range(50)), seen
    got = resource.batch_get_item(RequestItems={"rooms": {"Keys": [{"room": "py", "seq": seq} for seq in range(60)]}})
    assert len(got["Responses"]["rooms"]) == 50 and not got["UnprocessedKeys"], got


def transactions():
    key = {"room": {"S": "py"}, "seq": {"N": "0"}}

    def add(by):
        values = {":by": {"N": str(by)}}
        return {
            "ClientRequestToken": "py-token",
            "TransactItems": [{"Update": {"TableName": "rooms", "Key": key, "UpdateExpression": "ADD n :by", "ExpressionAttributeValues": values}}],
        }

    for _ in range(2):  # as a retry does
        client.transact_write_items(**add(5))
    fails("IdempotentParameterMismatchException", client.transact_write_items, **add(6))
    got = client.transact_get_items(TransactItems=[
        {"Get": {"TableName": "rooms", "Key": key, "ProjectionExpression": "n"}},
        {"Get": {"TableName": "rooms", "Key": key | {"seq": {"N": "999"}}}},
    ])["Responses"]
    assert got == [{"Item": {"n": {"N": "5"}}}, {}], got
    check = {"TableName": "rooms", "Key": key, "ConditionExpression": "n = :n", "ExpressionAttributeValues": {":n": {"N": "4"}}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    put = {"TableName": "rooms", "Item": key | {"seq": {"N": "777"}}}
    reasons = fails("TransactionCanceledException", client.transact_write_items, TransactItems=[{"Put": put}, {"ConditionCheck": check}])["CancellationReasons"]
    assert [r["Code"] for r in reasons] == ["None", "ConditionalCheckFailed"] and reasons[1]["Item"]["n"] == {"N": "5"}, reasons
    failed = fails("ConditionalCheckFailedException", rooms.put_item, Item={"room": "py", "seq": 0}, ConditionExpression=Attr("n").lt(5), ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert failed["Item"]["n"] in (Decimal(5), {"N": "5"}), failed
    select = client.execute_statement(Statement="SELECT n FROM rooms WHERE room = ? AND seq = ?", Parameters=[{"S": "py"}, {"N": "0"}])
    assert select["Items"] == [{"n": {"N": "5"}}], select


def streams():
    records = boto3.client("dynamodbstreams")
    arn = records.list_streams(TableName="rooms")["Streams"][0]["StreamArn"]
    seen = []
    for shard in records.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        at = records.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while True:
            page = records.get_records(ShardIterator=at, Limit=40)
            if not page["Records"]:
                break
            seen += [r for r in page["Records"] if r["dynamodb"]["Keys"]["room"]["S"] == "py"]
            at = page["NextShardIterator"]
    assert [r["eventName"] for r in seen] == ["INSERT"] * 50 + ["MODIFY"], seen
    assert "n" not in seen[-1]["dynamodb"]["OldImage"] and seen[-1]["dynamodb"]["NewImage"]["n"] == {"N": "5"}, seen[-1]


control()
pages()
transactions()
streams()
print("ok")
