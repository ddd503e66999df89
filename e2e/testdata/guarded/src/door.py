"""An authorizer that does what its token says."""


def authorize(event, context):
    token = event["queryStringParameters"]["token"]
    if token == "unauthorized":
        raise Exception("Unauthorized")
    if token == "broken":
        raise ValueError("the user directory is down")
    return {
        "principalId": "grace",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow" if token == "allow" else "Deny", "Resource": event["methodArn"]}],
        },
        "context": {"language": "python", "level": 3.5, "admin": False},
    }
