import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])


def handler(event, context):
    c = event["requestContext"]
    for name, host in (
        ("domain", c["domainName"]),
        ("api", f"{c['apiId']}.execute-api.{os.environ['AWS_REGION']}.amazonaws.com"),
    ):
        client = boto3.client("apigatewaymanagementapi", endpoint_url=f"https://{host}/{c['stage']}")
        client.post_to_connection(ConnectionId=c["connectionId"], Data=f"{name} python".encode())
    table.put_item(Item={"id": "python"})
    return {"statusCode": 200}
