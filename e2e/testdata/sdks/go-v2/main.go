// Command go-v2 posts with the AWS SDK for Go v2.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/apigatewaymanagementapi"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func handle(ctx context.Context, e events.APIGatewayWebsocketProxyRequest) (events.APIGatewayProxyResponse, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return events.APIGatewayProxyResponse{}, err
	}
	c := e.RequestContext
	hosts := map[string]string{"domain": c.DomainName, "api": c.APIID + ".execute-api." + os.Getenv("AWS_REGION") + ".amazonaws.com"}
	for _, name := range []string{"domain", "api"} {
		endpoint := "https://" + hosts[name] + "/" + c.Stage
		client := apigatewaymanagementapi.NewFromConfig(cfg, func(o *apigatewaymanagementapi.Options) { o.BaseEndpoint = &endpoint })
		_, err := client.PostToConnection(ctx, &apigatewaymanagementapi.PostToConnectionInput{ConnectionId: &c.ConnectionID, Data: []byte(name + " go-v2")})
		if err != nil {
			return events.APIGatewayProxyResponse{}, fmt.Errorf("post through %s: %w", endpoint, err)
		}
	}
	_, err = dynamodb.NewFromConfig(cfg).PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(os.Getenv("TABLE_NAME")),
		Item:      map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "go-v2"}},
	})
	return events.APIGatewayProxyResponse{StatusCode: 200}, err
}

func main() { lambda.Start(handle) }
