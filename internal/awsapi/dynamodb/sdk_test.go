package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func client(srv *httptest.Server) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: aws.String(srv.URL),
		Region:       "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDLOCAL", SecretAccessKey: "secret"}, nil
		}),
		RetryMaxAttempts: 1,
	})
}

type values = map[string]types.AttributeValue

func str(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func num(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }

// createConnections makes the table every chat sample has, with an index by room.
func createConnections(t testing.TB, c *sdk.Client) {
	t.Helper()
	ctx := context.Background()
	_, err := c.CreateTable(ctx, &sdk.CreateTableInput{
		TableName:   aws.String("connections"),
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("room"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("at"), AttributeType: types.ScalarAttributeTypeN},
		},
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName:  aws.String("byRoom"),
			KeySchema:  []types.KeySchemaElement{{AttributeName: aws.String("room"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("at"), KeyType: types.KeyTypeRange}},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := sdk.NewTableExistsWaiter(c).Wait(ctx, &sdk.DescribeTableInput{TableName: aws.String("connections")}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func putConnection(t testing.TB, c *sdk.Client, id, room string, at int) {
	t.Helper()
	_, err := c.PutItem(context.Background(), &sdk.PutItemInput{
		TableName: aws.String("connections"),
		Item:      values{"id": str(id), "room": str(room), "at": num(fmt.Sprint(at))},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGoSDKItems(t *testing.T) {
	srv, _ := newServer(t)
	c := client(srv)
	ctx := context.Background()
	createConnections(t, c)
	item := values{
		"id": str("c1"), "room": str("lobby ☕"), "at": num("1.50"), "bin": &types.AttributeValueMemberB{Value: []byte{0, 1, 255}},
		"yes": &types.AttributeValueMemberBOOL{Value: true}, "nil": &types.AttributeValueMemberNULL{Value: true},
		"list": &types.AttributeValueMemberL{Value: []types.AttributeValue{str("a"), num("1")}},
		"map": &types.AttributeValueMemberM{Value: values{"k": str(`quote " and \ and
newline`)}},
		"tags": &types.AttributeValueMemberSS{Value: []string{"x", "y"}},
		"nums": &types.AttributeValueMemberNS{Value: []string{"1", "2"}},
		"bins": &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}},
	}
	if _, err := c.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("connections"), Item: item}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("connections"), Key: values{"id": str("c1")}})
	if err != nil {
		t.Fatal(err)
	}
	item["at"] = num("1.5")
	if !reflect.DeepEqual(got.Item, item) {
		t.Fatalf("got %v", got.Item)
	}
	up, err := c.UpdateItem(ctx, &sdk.UpdateItemInput{
		TableName: aws.String("connections"), Key: values{"id": str("c1")},
		UpdateExpression:          aws.String("SET #m.k = :v ADD tags :t REMOVE nums"),
		ExpressionAttributeNames:  map[string]string{"#m": "map"},
		ExpressionAttributeValues: values{":v": str("new"), ":t": &types.AttributeValueMemberSS{Value: []string{"z"}}},
		ReturnValues:              types.ReturnValueUpdatedNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := values{"map": &types.AttributeValueMemberM{Value: values{"k": str("new")}}, "tags": &types.AttributeValueMemberSS{Value: []string{"x", "y", "z"}}}
	if !reflect.DeepEqual(up.Attributes, want) {
		t.Fatalf("UPDATED_NEW: %v", up.Attributes)
	}
	missing, err := c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("connections"), Key: values{"id": str("none")}})
	if err != nil || missing.Item != nil {
		t.Fatal(missing.Item, err)
	}
}

func TestGoSDKErrorsAreTyped(t *testing.T) {
	srv, _ := newServer(t)
	c := client(srv)
	ctx := context.Background()
	createConnections(t, c)
	putConnection(t, c, "c1", "lobby", 1)
	_, err := c.PutItem(ctx, &sdk.PutItemInput{
		TableName: aws.String("connections"), Item: values{"id": str("c1")},
		ConditionExpression:                 aws.String("attribute_not_exists(id)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) || failed.ErrorMessage() != "The conditional request failed" || failed.Item["room"] == nil {
		t.Fatalf("%v", err)
	}
	_, err = c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("nowhere"), Key: values{"id": str("c1")}})
	var notFound *types.ResourceNotFoundException
	if !errors.As(err, &notFound) {
		t.Fatalf("%v", err)
	}
	_, err = c.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: aws.String("connections"), Item: values{"id": str("c2")}}},
		{Delete: &types.Delete{TableName: aws.String("connections"), Key: values{"id": str("c1")}, ConditionExpression: aws.String("attribute_not_exists(id)")}},
	}})
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != 2 ||
		aws.ToString(cancelled.CancellationReasons[0].Code) != "None" || aws.ToString(cancelled.CancellationReasons[1].Code) != "ConditionalCheckFailed" {
		t.Fatalf("%v", err)
	}
	got, err := c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("connections"), Key: values{"id": str("c2")}})
	if err != nil || got.Item != nil {
		t.Fatal("a cancelled transaction left a write", got.Item, err)
	}
}

func TestGoSDKPaginators(t *testing.T) {
	srv, _ := newServer(t)
	c := client(srv)
	ctx := context.Background()
	createConnections(t, c)
	for i := range 25 {
		putConnection(t, c, fmt.Sprintf("c%02d", i), []string{"lobby", "attic"}[i%2], i)
	}
	var order []string
	q := sdk.NewQueryPaginator(c, &sdk.QueryInput{
		TableName: aws.String("connections"), IndexName: aws.String("byRoom"), Limit: aws.Int32(4),
		KeyConditionExpression: aws.String("room = :r AND #at > :from"), ScanIndexForward: aws.Bool(false),
		ExpressionAttributeNames:  map[string]string{"#at": "at"},
		ExpressionAttributeValues: values{":r": str("lobby"), ":from": num("3")},
	})
	for q.HasMorePages() {
		page, err := q.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			order = append(order, it["at"].(*types.AttributeValueMemberN).Value)
		}
	}
	if want := []string{"24", "22", "20", "18", "16", "14", "12", "10", "8", "6", "4"}; !slices.Equal(order, want) {
		t.Fatal(order)
	}
	seen := map[string]int{}
	for segment := range int32(3) {
		s := sdk.NewScanPaginator(c, &sdk.ScanInput{TableName: aws.String("connections"), Segment: aws.Int32(segment), TotalSegments: aws.Int32(3), Limit: aws.Int32(5), ProjectionExpression: aws.String("id")})
		for s.HasMorePages() {
			page, err := s.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				if len(it) != 1 {
					t.Fatal("projection:", it)
				}
				seen[it["id"].(*types.AttributeValueMemberS).Value]++
			}
		}
	}
	if len(seen) != 25 {
		t.Fatal(seen)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s seen %d times", id, n)
		}
	}
}

func TestGoSDKBatches(t *testing.T) {
	srv, engine := newServer(t)
	c := client(srv)
	ctx := context.Background()
	createConnections(t, c)
	var writes []types.WriteRequest
	var keys []values
	for i := range 25 {
		id := str(fmt.Sprint("c", i))
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: values{"id": id}}})
		keys = append(keys, values{"id": id})
	}
	out, err := c.BatchWriteItem(ctx, &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"connections": writes}})
	if err != nil || len(out.UnprocessedItems) != 0 {
		t.Fatal(out, err)
	}
	got, err := c.BatchGetItem(ctx, &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"connections": {Keys: keys}}})
	if err != nil || len(got.Responses["connections"]) != 25 || len(got.UnprocessedKeys) != 0 {
		t.Fatal(got, err)
	}
	if s := engine.Tables(); len(s) != 1 || s[0].Items != 25 {
		t.Fatal(s)
	}
}

// Two hundred increments through fifty goroutines: none is lost.
func TestGoSDKConcurrentIncrements(t *testing.T) {
	srv, _ := newServer(t)
	c := client(srv)
	ctx := context.Background()
	createConnections(t, c)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 4 {
				_, err := c.UpdateItem(ctx, &sdk.UpdateItemInput{
					TableName: aws.String("connections"), Key: values{"id": str("counter")},
					UpdateExpression: aws.String("ADD n :one"), ExpressionAttributeValues: values{":one": num("1")},
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("connections"), Key: values{"id": str("counter")}})
	if err != nil || !reflect.DeepEqual(got.Item["n"], num("200")) {
		t.Fatal(got.Item, err)
	}
}

func TestGoSDKTableLifecycle(t *testing.T) {
	srv, _ := newServer(t)
	c := client(srv)
	ctx := context.Background()
	createConnections(t, c)
	name := aws.String("connections")
	d, err := c.DescribeTable(ctx, &sdk.DescribeTableInput{TableName: name})
	if err != nil || d.Table.TableStatus != types.TableStatusActive || len(d.Table.GlobalSecondaryIndexes) != 1 ||
		aws.ToString(d.Table.TableArn) != "arn:aws:dynamodb:us-east-1:123456789012:table/connections" {
		t.Fatal(d, err)
	}
	if _, err := c.UpdateTimeToLive(ctx, &sdk.UpdateTimeToLiveInput{TableName: name, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("ttl"), Enabled: aws.Bool(true)}}); err != nil {
		t.Fatal(err)
	}
	ttl, err := c.DescribeTimeToLive(ctx, &sdk.DescribeTimeToLiveInput{TableName: name})
	if err != nil || ttl.TimeToLiveDescription.TimeToLiveStatus != types.TimeToLiveStatusEnabled {
		t.Fatal(ttl, err)
	}
	if _, err := c.TagResource(ctx, &sdk.TagResourceInput{ResourceArn: d.Table.TableArn, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}); err != nil {
		t.Fatal(err)
	}
	tags, err := c.ListTagsOfResource(ctx, &sdk.ListTagsOfResourceInput{ResourceArn: d.Table.TableArn})
	if err != nil || len(tags.Tags) != 1 {
		t.Fatal(tags, err)
	}
	if _, err := c.DescribeContinuousBackups(ctx, &sdk.DescribeContinuousBackupsInput{TableName: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DescribeLimits(ctx, &sdk.DescribeLimitsInput{}); err != nil {
		t.Fatal(err)
	}
	if e, err := c.DescribeEndpoints(ctx, &sdk.DescribeEndpointsInput{}); err != nil || len(e.Endpoints) != 1 {
		t.Fatal(e, err)
	}
	if _, err := c.DeleteTable(ctx, &sdk.DeleteTableInput{TableName: name}); err != nil {
		t.Fatal(err)
	}
	if err := sdk.NewTableNotExistsWaiter(c).Wait(ctx, &sdk.DescribeTableInput{TableName: name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	list, err := c.ListTables(ctx, &sdk.ListTablesInput{})
	if err != nil || len(list.TableNames) != 0 {
		t.Fatal(list, err)
	}
}

// PartiQL through a real client: parameters, the paginator's token, batches,
// transactions, typed errors.
func TestGoSDKPartiQL(t *testing.T) {
	srv, _ := newServer(t)
	c := client(srv)
	ctx := context.Background()
	createConnections(t, c)
	for i := range 5 {
		_, err := c.ExecuteStatement(ctx, &sdk.ExecuteStatementInput{
			Statement:  aws.String(`INSERT INTO "connections" VALUE {'id': ?, 'room': 'lobby', 'at': ?}`),
			Parameters: []types.AttributeValue{str(fmt.Sprint("c", i)), num(fmt.Sprint(i))},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.ExecuteStatement(ctx, &sdk.ExecuteStatementInput{Statement: aws.String(`INSERT INTO connections VALUE {'id': 'c1'}`)})
	var duplicate *types.DuplicateItemException
	if !errors.As(err, &duplicate) {
		t.Fatal(err)
	}
	var got []string
	in := &sdk.ExecuteStatementInput{
		Statement: aws.String(`SELECT id FROM "connections"."byRoom" WHERE room = ? AND "at" > 0 ORDER BY "at" DESC`), Parameters: []types.AttributeValue{str("lobby")},
		Limit: aws.Int32(3), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}
	for {
		page, err := c.ExecuteStatement(ctx, in)
		if err != nil || page.ConsumedCapacity == nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			got = append(got, it["id"].(*types.AttributeValueMemberS).Value)
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	if !slices.Equal(got, []string{"c4", "c3", "c2", "c1"}) {
		t.Fatal(got)
	}
	batch, err := c.BatchExecuteStatement(ctx, &sdk.BatchExecuteStatementInput{Statements: []types.BatchStatementRequest{
		{Statement: aws.String(`SELECT room FROM connections WHERE id = 'c1'`)}, {Statement: aws.String(`SELECT * FROM nowhere WHERE id = 'c1'`)},
	}})
	if err != nil || batch.Responses[0].Item["room"] == nil || batch.Responses[1].Error.Code != types.BatchStatementErrorCodeEnumResourceNotFound {
		t.Fatal(batch, err)
	}
	_, err = c.ExecuteTransaction(ctx, &sdk.ExecuteTransactionInput{TransactStatements: []types.ParameterizedStatement{
		{Statement: aws.String(`DELETE FROM connections WHERE id = 'c0'`)}, {Statement: aws.String(`EXISTS(SELECT * FROM connections WHERE id = 'c1' AND room = 'attic')`)},
	}})
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || aws.ToString(cancelled.CancellationReasons[1].Code) != "ConditionalCheckFailed" {
		t.Fatal(err)
	}
}
