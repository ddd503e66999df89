# A Terraform project, read from its files: nothing is planned or applied.
variable "stage" {
  type    = string
  default = "qa"
}

locals {
  routes = toset(["$connect", "echo"])
}

provider "aws" {
  region = "eu-west-3"
}

data "archive_file" "code" {
  type        = "zip"
  source_dir  = "${path.module}/fn"
  output_path = "${path.module}/build/fn.zip"
}

resource "aws_iam_role" "run" {
  name               = "doors-run"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [] })
}

resource "aws_lambda_function" "talk" {
  function_name    = "doors-${var.stage}-talk"
  filename         = data.archive_file.code.output_path
  source_code_hash = data.archive_file.code.output_base64sha256
  handler          = "index.handler"
  runtime          = "nodejs22.x"
  role             = aws_iam_role.run.arn

  environment {
    variables = {
      GREETING = templatefile("${path.module}/greeting.tftpl", { stage = var.stage })
    }
  }
}

resource "aws_apigatewayv2_api" "doors" {
  name                       = "doors"
  protocol_type              = "WEBSOCKET"
  route_selection_expression = "$request.body.action"
}

resource "aws_apigatewayv2_integration" "talk" {
  api_id           = aws_apigatewayv2_api.doors.id
  integration_type = "AWS_PROXY"
  integration_uri  = aws_lambda_function.talk.invoke_arn
}

resource "aws_apigatewayv2_route" "all" {
  for_each  = local.routes
  api_id    = aws_apigatewayv2_api.doors.id
  route_key = each.key
  target    = "integrations/${aws_apigatewayv2_integration.talk.id}"
}

resource "aws_apigatewayv2_route_response" "echo" {
  api_id             = aws_apigatewayv2_api.doors.id
  route_id           = aws_apigatewayv2_route.all["echo"].id
  route_response_key = "$default"
}

resource "aws_apigatewayv2_stage" "live" {
  api_id      = aws_apigatewayv2_api.doors.id
  name        = var.stage
  auto_deploy = true
}

output "url" {
  value = aws_apigatewayv2_stage.live.invoke_url
}
