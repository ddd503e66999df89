// What a CDK app does when it is synthesised, without its library: it writes a cloud
// assembly (a manifest, a stack's template, the assets) to $CDK_OUTDIR.
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const out = process.env.CDK_OUTDIR ?? "cdk.out";
const write = (name, value) => writeFileSync(join(out, name), JSON.stringify(value, null, 1) + "\n");
const greeting = "hello";

mkdirSync(out, { recursive: true });
cpSync("fn", join(out, "asset.0fe1"), { recursive: true });
write("cdk.out", { version: "41.0.0" });
write("manifest.json", {
  version: "41.0.0",
  artifacts: {
    "Doors.assets": { type: "cdk:asset-manifest", properties: { file: "Doors.assets.json" } },
    Doors: {
      type: "aws:cloudformation:stack",
      environment: "aws://unknown-account/eu-central-1",
      properties: { templateFile: "Doors.template.json", bootstrapStackVersionSsmParameter: "/cdk-bootstrap/hnb659fds/version" },
      dependencies: ["Doors.assets"],
    },
  },
});
write("Doors.assets.json", {
  version: "41.0.0",
  files: {
    "0fe1": {
      source: { path: "asset.0fe1", packaging: "zip" },
      destinations: { "current_account-eu-central-1": { bucketName: { "Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-eu-central-1" }, objectKey: "0fe1.zip" } },
    },
  },
});

const api = { Ref: "Api" };
const resource = (Type, Properties) => ({ Type: `AWS::${Type}`, Properties });
const route = (RouteKey) => resource("ApiGatewayV2::Route", { ApiId: api, RouteKey, Target: { "Fn::Join": ["", ["integrations/", { Ref: "Integration" }]] } });
write("Doors.template.json", {
  Parameters: { BootstrapVersion: { Type: "AWS::SSM::Parameter::Value<String>", Default: "/cdk-bootstrap/hnb659fds/version" } },
  Resources: {
    Api: resource("ApiGatewayV2::Api", { Name: "doors", ProtocolType: "WEBSOCKET", RouteSelectionExpression: "$request.body.action" }),
    Stage: resource("ApiGatewayV2::Stage", { ApiId: api, StageName: "qa", AutoDeploy: true }),
    Connect: route("$connect"),
    Echo: route("echo"),
    EchoAnswer: resource("ApiGatewayV2::RouteResponse", { ApiId: api, RouteId: { Ref: "Echo" }, RouteResponseKey: "$default" }),
    Integration: resource("ApiGatewayV2::Integration", {
      ApiId: api,
      IntegrationType: "AWS_PROXY",
      IntegrationUri: {
        "Fn::Join": ["", ["arn:", { Ref: "AWS::Partition" }, ":apigateway:", { Ref: "AWS::Region" }, ":lambda:path/2015-03-31/functions/", { "Fn::GetAtt": ["Talk", "Arn"] }, "/invocations"]],
      },
    }),
    Role: resource("IAM::Role", { AssumeRolePolicyDocument: { Version: "2012-10-17", Statement: [] } }),
    Talk: resource("Lambda::Function", {
      Code: { S3Bucket: { "Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-eu-central-1" }, S3Key: "0fe1.zip" },
      Handler: "index.handler",
      Runtime: "nodejs22.x",
      Role: { "Fn::GetAtt": ["Role", "Arn"] },
      Environment: { Variables: { GREETING: greeting } },
    }),
  },
});
