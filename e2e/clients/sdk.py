"""boto3 from outside, with AWS_ENDPOINT_URL. Arguments: management URL, connection id, table."""
import datetime
import sys
from decimal import Decimal

import boto3
from botocore.exceptions import ClientError

management, connection_id, table_name = sys.argv[1:]
gateway = boto3.client("apigatewaymanagementapi", endpoint_url=management)
gateway.post_to_connection(ConnectionId=connection_id, Data=b"from boto3")
state = gateway.get_connection(ConnectionId=connection_id)
assert isinstance(state["ConnectedAt"], datetime.datetime), state
try:
    gateway.post_to_connection(ConnectionId="AAAAAAAAAAAAAAA=", Data=b"x")
    raise SystemExit("a post to nobody succeeded")
except gateway.exceptions.GoneException as err:
    assert err.response["ResponseMetadata"]["HTTPStatusCode"] == 410, err.response

table = boto3.resource("dynamodb").Table(table_name)
table.put_item(Item={"id": "boto3", "n": Decimal("1.50"), "s": {"a", "b"}, "bytes": b"\x00\xff"})
item = table.get_item(Key={"id": "boto3"})["Item"]
assert item["n"] == Decimal("1.5") and item["s"] == {"a", "b"} and bytes(item["bytes"]) == b"\x00\xff", item
try:
    table.put_item(Item={"id": "boto3"}, ConditionExpression="attribute_not_exists(id)")
    raise SystemExit("a condition that is false let the write through")
except table.meta.client.exceptions.ConditionalCheckFailedException:
    pass
try:
    table.put_item(Item={"other": "no key"})
    raise SystemExit("an item without its key was stored")
except ClientError as err:
    assert err.response["Error"]["Code"] == "ValidationException", err.response

assert boto3.client("sts").get_caller_identity()["Account"].isdigit()
try:
    boto3.client("sqs").list_queues()
    raise SystemExit("SQS is not there, and answers as if it were")
except ClientError as err:
    print("sqs:", err.response["Error"])
print("ok")
