package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// startTables runs testdata/tables: tables with indexes, a stream and a time to live.
func startTables(t testing.TB) *gate {
	t.Helper()
	return launch{Dir: copyApp(t, "tables")}.start(t)
}

// The SDKs for JavaScript with their DocumentClients: what an application does with its
// tables, from CreateTable to GetRecords.
func TestJavaScriptTables(t *testing.T) {
	dir := npmInstall(t, "clients")
	g := startTables(t)
	for name, script := range map[string]string{"SDK v2": "tables/v2.mjs", "SDK v3": "tables/v3.mjs"} {
		t.Run(name, func(t *testing.T) { g.in(t).script(dir, "node", script) })
	}
}

func TestPythonTables(t *testing.T) {
	python := needBoto3(t)
	startTables(t).script("clients", python, "tables/tables.py")
}

// script runs a client that says "ok" when it got to its end.
func (g *gate) script(dir, name, file string) {
	g.t.Helper()
	if out := g.client(dir, name, file); !strings.HasSuffix("\n"+out, "\nok\n") {
		g.t.Errorf("%s did not get to its end:\n%s", file, out)
	}
}

// The command line of AWS: pages, its waiters, transactions, streams, errors.
func TestAWSCommandLineTables(t *testing.T) {
	command := need(t, "aws")
	g := startTables(t)
	aws := func(args ...string) string { return g.client(".", command, append(args, "--output", "json")...) }
	db := func(args ...string) string { return aws(append([]string{"dynamodb"}, args...)...) }

	db("create-table", "--table-name", "cli", "--billing-mode", "PAY_PER_REQUEST", "--attribute-definitions", "AttributeName=id,AttributeType=S", "--key-schema", "AttributeName=id,KeyType=HASH")
	db("wait", "table-exists", "--table-name", "cli")
	if got := fields[struct{ TableNames []string }](t, db("list-tables", "--page-size", "1")); !slices.Equal(got.TableNames, []string{"cli", "rooms"}) {
		t.Errorf("list-tables: %v", got)
	}
	var puts []string
	for i := range 9 {
		puts = append(puts, fmt.Sprintf(`{"Put":{"TableName":"rooms","Item":{"room":{"S":"cli"},"seq":{"N":"%d"},"who":{"S":"cli"}}}}`, i))
	}
	db("transact-write-items", "--transact-items", "["+strings.Join(puts, ",")+"]")
	query := []string{"query", "--table-name", "rooms", "--index-name", "byWho", "--key-condition-expression", "who = :w", "--expression-attribute-values", `{":w":{"S":"cli"}}`, "--page-size", "2"}
	type page struct {
		Items     []map[string]map[string]string
		NextToken string
	}
	first := fields[page](t, db(append(query, "--max-items", "5")...))
	rest := fields[page](t, db(append(query, "--starting-token", first.NextToken)...))
	if len(first.Items) != 5 || len(rest.Items) != 4 || rest.Items[0]["seq"]["N"] != "5" {
		t.Errorf("query in pages: %v, %v", first, rest)
	}
	got := db("transact-get-items", "--transact-items", `[{"Get":{"TableName":"rooms","Key":{"room":{"S":"cli"},"seq":{"N":"3"}}}}]`)
	if responses := fields[struct {
		Responses []struct{ Item map[string]any }
	}](t, got).Responses; len(responses) != 1 || len(responses[0].Item) != 3 {
		t.Errorf("transact-get-items: %s", got)
	}
	refused, err := g.tryClient(".", command, "dynamodb", "transact-write-items", "--transact-items", `[{"Delete":{"TableName":"rooms","Key":{"room":{"S":"cli"},"seq":{"N":"3"}},"ConditionExpression":"attribute_exists(nothing)"}}]`)
	if want := "An error occurred (TransactionCanceledException) when calling the TransactWriteItems operation: Transaction cancelled, please refer cancellation reasons for specific reasons [ConditionalCheckFailed]"; err == nil || !strings.Contains(refused, want) {
		t.Errorf("a transaction that cannot be: %v %s", err, refused)
	}
	streams := fields[struct{ Streams []struct{ StreamArn string } }](t, aws("dynamodbstreams", "list-streams", "--table-name", "rooms"))
	if len(streams.Streams) != 1 || !strings.Contains(streams.Streams[0].StreamArn, ":table/rooms/stream/") {
		t.Errorf("list-streams: %v", streams)
	}
	db("delete-table", "--table-name", "cli")
	db("wait", "table-not-exists", "--table-name", "cli")
}

// fields reads what a command printed.
func fields[T any](t *testing.T, text string) (out T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return out
}

type item = map[string]types.AttributeValue

func str(text string) types.AttributeValue { return &types.AttributeValueMemberS{Value: text} }
func num(text string) types.AttributeValue { return &types.AttributeValueMemberN{Value: text} }

func TestGoTables(t *testing.T) {
	g := startTables(t)
	c := g.database()
	t.Run("waiters and the paginator of tables", func(t *testing.T) { goWaiters(t, c) })
	t.Run("paginators", func(t *testing.T) { goPaginators(t, c) })
	t.Run("transactions", func(t *testing.T) { goTransactions(t, c) })
	t.Run("an index on a live table", func(t *testing.T) { goLiveIndex(t, c) })
	t.Run("streams", func(t *testing.T) { goStreams(t, c) })
}

// goTable creates a table with the key id, waits until it exists and deletes it later.
func goTable(t *testing.T, c *dynamodb.Client, name string) {
	t.Helper()
	_, err := c.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dynamodb.NewTableExistsWaiter(c).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, frameWithin); err != nil {
		t.Fatal(err)
	}
}

func goWaiters(t *testing.T, c *dynamodb.Client) {
	names := []string{"go-a", "go-b", "go-c"}
	for _, name := range names {
		goTable(t, c, name)
	}
	var listed []string
	pages := dynamodb.NewListTablesPaginator(c, &dynamodb.ListTablesInput{Limit: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil || len(page.TableNames) > 1 {
			t.Fatal(page, err)
		}
		listed = append(listed, page.TableNames...)
	}
	if want := append(names, "rooms"); !slices.Equal(listed, want) {
		t.Errorf("listed %v, want %v", listed, want)
	}
	for _, name := range names {
		if _, err := c.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			t.Fatal(err)
		}
		if err := dynamodb.NewTableNotExistsWaiter(c).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, frameWithin); err != nil {
			t.Fatal(err)
		}
	}
}

func goPaginators(t *testing.T, c *dynamodb.Client) {
	var writes []types.WriteRequest
	for i := range 20 {
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: item{"room": str("go"), "seq": num(fmt.Sprint(i)), "score": num(fmt.Sprint(100 - i))}}})
	}
	if _, err := c.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"rooms": writes}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	query := dynamodb.NewQueryPaginator(c, &dynamodb.QueryInput{
		TableName: aws.String("rooms"), IndexName: aws.String("byScore"), Limit: aws.Int32(3), ConsistentRead: aws.Bool(true),
		KeyConditionExpression: aws.String("room = :r AND score < :s"), ExpressionAttributeValues: item{":r": str("go"), ":s": num("89")},
	})
	for query.HasMorePages() {
		page, err := query.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			got = append(got, it["score"].(*types.AttributeValueMemberN).Value)
		}
	}
	if want := "81 82 83 84 85 86 87 88"; strings.Join(got, " ") != want {
		t.Errorf("query: %v, want %s", got, want)
	}
	seen := map[string]int{}
	for segment := range int32(4) {
		scan := dynamodb.NewScanPaginator(c, &dynamodb.ScanInput{TableName: aws.String("rooms"), Segment: &segment, TotalSegments: aws.Int32(4), Limit: aws.Int32(3)})
		for scan.HasMorePages() {
			page, err := scan.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				seen[it["seq"].(*types.AttributeValueMemberN).Value]++
			}
		}
	}
	for i := range 20 {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("a scan of four segments saw %d %d times", i, seen[fmt.Sprint(i)])
		}
	}
}

func goTransactions(t *testing.T, c *dynamodb.Client) {
	key := item{"room": str("go transactions"), "seq": num("1")}
	add := func(by string) error {
		_, err := c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{
			ClientRequestToken: aws.String("go-token"),
			TransactItems: []types.TransactWriteItem{{Update: &types.Update{
				TableName: aws.String("rooms"), Key: key, UpdateExpression: aws.String("ADD n :by"), ExpressionAttributeValues: item{":by": num(by)},
			}}},
		})
		return err
	}
	for range 12 { // as retries do; the SDK writes the members of the key in any order
		if err := add("5"); err != nil {
			t.Fatal(err)
		}
	}
	var mismatch *types.IdempotentParameterMismatchException
	if err := add("6"); !errors.As(err, &mismatch) {
		t.Errorf("a token with another request: %v", err)
	}
	got, err := c.TransactGetItems(t.Context(), &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
		{Get: &types.Get{TableName: aws.String("rooms"), Key: key, ProjectionExpression: aws.String("n")}},
		{Get: &types.Get{TableName: aws.String("rooms"), Key: item{"room": str("nobody"), "seq": num("1")}}},
	}})
	if err != nil || len(got.Responses) != 2 || len(got.Responses[0].Item) != 1 || got.Responses[0].Item["n"].(*types.AttributeValueMemberN).Value != "5" || got.Responses[1].Item != nil {
		t.Fatal(got, err)
	}
	_, err = c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: aws.String("rooms"), Item: item{"room": str("go transactions"), "seq": num("2")}}},
		{ConditionCheck: &types.ConditionCheck{
			TableName: aws.String("rooms"), Key: key, ConditionExpression: aws.String("n = :n"), ExpressionAttributeValues: item{":n": num("4")},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}},
	}})
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != 2 || aws.ToString(cancelled.CancellationReasons[1].Code) != "ConditionalCheckFailed" || cancelled.CancellationReasons[1].Item["n"] == nil {
		t.Errorf("%v", err)
	}
}

func goLiveIndex(t *testing.T, c *dynamodb.Client) {
	name := aws.String("go-live")
	goTable(t, c, *name)
	for i := range 12 {
		if _, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: name, Item: item{"id": str(fmt.Sprint(i)), "colour": str([]string{"red", "blue"}[i%2])}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{
		TableName:            name,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("colour"), AttributeType: types.ScalarAttributeTypeS}},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: aws.String("byColour"), KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("colour"), KeyType: types.KeyTypeHash}},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, frameWithin, func() error {
		d, err := c.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: name})
		if err == nil && (len(d.Table.GlobalSecondaryIndexes) != 1 || d.Table.GlobalSecondaryIndexes[0].IndexStatus != types.IndexStatusActive) {
			return fmt.Errorf("indexes: %v", d.Table.GlobalSecondaryIndexes)
		}
		return err
	})
	red := &dynamodb.QueryInput{TableName: name, IndexName: aws.String("byColour"), KeyConditionExpression: aws.String("colour = :c"), ExpressionAttributeValues: item{":c": str("red")}}
	if got, err := c.Query(t.Context(), red); err != nil || got.Count != 6 {
		t.Errorf("the new index finds %v, %v", got, err)
	}
	_, err = c.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{TableName: name, GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: aws.String("byColour")}}}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, frameWithin, func() error {
		if _, err := c.Query(t.Context(), red); err == nil || !strings.Contains(err.Error(), "The table does not have the specified index: byColour") {
			return fmt.Errorf("a query of the index that was deleted: %w", err)
		}
		return nil
	})
}

func goStreams(t *testing.T, db *dynamodb.Client) {
	key := item{"room": str("go streams"), "seq": num("1")}
	_, put := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("rooms"), Item: key})
	_, update := db.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: aws.String("rooms"), Key: key, UpdateExpression: aws.String("SET a = :a"), ExpressionAttributeValues: item{":a": num("1")}})
	_, remove := db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: aws.String("rooms"), Key: key})
	if err := errors.Join(put, update, remove); err != nil {
		t.Fatal(err)
	}
	options := db.Options()
	c := dynamodbstreams.New(dynamodbstreams.Options{Region: options.Region, BaseEndpoint: options.BaseEndpoint, Credentials: options.Credentials, RetryMaxAttempts: 1})
	list, err := c.ListStreams(t.Context(), &dynamodbstreams.ListStreamsInput{TableName: aws.String("rooms")})
	if err != nil || len(list.Streams) != 1 {
		t.Fatal(list, err)
	}
	arn := list.Streams[0].StreamArn
	about, err := c.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: arn})
	if err != nil || about.StreamDescription.StreamViewType != streamtypes.StreamViewTypeNewAndOldImages {
		t.Fatal(about, err)
	}
	var events []string
	for _, shard := range about.StreamDescription.Shards {
		start, err := c.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{StreamArn: arn, ShardId: shard.ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		for at := start.ShardIterator; at != nil; {
			page, err := c.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: at, Limit: aws.Int32(7)})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				if room := r.Dynamodb.Keys["room"].(*streamtypes.AttributeValueMemberS); room.Value != "go streams" {
					continue
				}
				events = append(events, fmt.Sprintf("%s %d>%d", r.EventName, len(r.Dynamodb.OldImage), len(r.Dynamodb.NewImage)))
			}
			if at = page.NextShardIterator; len(page.Records) == 0 {
				break
			}
		}
	}
	if got, want := strings.Join(events, " "), "INSERT 0>2 MODIFY 2>3 REMOVE 3>0"; got != want {
		t.Errorf("records %s, want %s", got, want)
	}
}
