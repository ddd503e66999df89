package durability

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/livegate/livegate/internal/sigv4"
)

// api calls DynamoDB operations of one instance.
type api struct {
	url  string
	http *http.Client
}

// value is one attribute: only strings and numbers occur here.
type value struct {
	S string `json:"S,omitempty"`
	N string `json:"N,omitempty"`
}

type item map[string]value

func number(n int) value { return value{N: fmt.Sprint(n)} }

// object is a request's body.
type object map[string]any

// refusal is an answer that says no: the operation did not happen.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("HTTP %d: %s", r.status, r.body) }

// call does one operation. An error that is no *refusal leaves open whether it
// happened.
func (a *api) call(ctx context.Context, operation string, in object, out any) error {
	return a.post(ctx, "DynamoDB_20120810."+operation, in, out)
}

// stream does one operation of DynamoDB Streams.
func (a *api) stream(ctx context.Context, operation string, in object, out any) error {
	return a.post(ctx, "DynamoDBStreams_20120810."+operation, in, out)
}

func (a *api) post(ctx context.Context, target string, in object, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", target)
	sigv4.Sign(req, body, sigv4.Key{ID: "AKIDURABILITY", Secret: "any"}, sigv4.Scope{Region: "us-east-1", Service: "dynamodb"}, time.Now())
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &refusal{resp.StatusCode, string(answer)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// scan reads a whole table, or an index of it, in pages.
func (a *api) scan(ctx context.Context, table, index string) (all []item, err error) {
	in := object{"TableName": table, "Limit": 97}
	if index != "" {
		in["IndexName"] = index
	}
	for {
		var page struct {
			Items            []item
			LastEvaluatedKey item
		}
		if err := a.call(ctx, "Scan", in, &page); err != nil {
			return nil, fmt.Errorf("scan of %s %s: %w", table, index, err)
		}
		all = append(all, page.Items...)
		if page.LastEvaluatedKey == nil {
			return all, nil
		}
		in["ExclusiveStartKey"] = page.LastEvaluatedKey
	}
}
