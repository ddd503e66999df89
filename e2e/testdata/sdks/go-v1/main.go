// Command go-v1 posts with the AWS SDK for Go v1, which knows no AWS_ENDPOINT_URL: only
// the proxy and the certificate bundle bring its calls home.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/apigatewaymanagementapi"
	"github.com/aws/aws-sdk-go/service/dynamodb"
)

func handle(_ context.Context, e events.APIGatewayWebsocketProxyRequest) (events.APIGatewayProxyResponse, error) {
	s, err := session.NewSession()
	if err != nil {
		return events.APIGatewayProxyResponse{}, err
	}
	c := e.RequestContext
	hosts := map[string]string{"domain": c.DomainName, "api": c.APIID + ".execute-api." + os.Getenv("AWS_REGION") + ".amazonaws.com"}
	for _, name := range []string{"domain", "api"} {
		endpoint := "https://" + hosts[name] + "/" + c.Stage
		client := apigatewaymanagementapi.New(s, aws.NewConfig().WithEndpoint(endpoint))
		_, err := client.PostToConnection(&apigatewaymanagementapi.PostToConnectionInput{ConnectionId: &c.ConnectionID, Data: []byte(name + " go-v1")})
		if err != nil {
			return events.APIGatewayProxyResponse{}, fmt.Errorf("post through %s: %w", endpoint, err)
		}
	}
	_, err = dynamodb.New(s).PutItem(&dynamodb.PutItemInput{
		TableName: aws.String(os.Getenv("TABLE_NAME")),
		Item:      map[string]*dynamodb.AttributeValue{"id": {S: aws.String("go-v1")}},
	})
	return events.APIGatewayProxyResponse{StatusCode: 200}, err
}

func main() { lambda.Start(handle) }
