package stack

import (
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

// sourceMapping keeps a hand-written AWS::Lambda::EventSourceMapping. Those that
// SAM made of a function's Events are kept by events.
func (b *builder) sourceMapping(in *instance, r *cfn.Resource) {
	if r.Event != "" {
		return
	}
	p := in.props(r)
	arn := p.str("EventSourceArn")
	if p.missing("FunctionName", "Add `FunctionName: !Ref MyFunction`.") {
		return
	}
	kind := map[string]string{"sqs": "SQS", "dynamodb": "DynamoDB", "kinesis": "Kinesis", "kafka": "MSK", "mq": "MQ", "rds": "DocumentDB"}[arnService(arn)]
	if kind == "" {
		kind = "event source"
	}
	in.source(r, kind, functionName(p.str("FunctionName")), arn, "")
}

// events keeps what SAM functions list under Events. WebSocket routes are not
// among them: SAM has no such event.
func (in *instance) events() {
	for _, r := range in.Resources {
		if r.Event == "" || strings.HasPrefix(r.ID, "ServerlessRestApi") || strings.HasPrefix(r.ID, "ServerlessHttpApi") {
			continue
		}
		p := in.props(r)
		arn := ""
		for _, key := range []string{"EventSourceArn", "Topic", "Bucket"} {
			if v := p.get(key); v != nil && v.Scalar() {
				arn = v.Text
				break
			}
		}
		in.source(r, r.Event, p.str("FunctionName"), arn, " "+strings.TrimPrefix(r.ID, r.From)+" of "+r.From)
	}
}

func (in *instance) source(r *cfn.Resource, kind, function, arn, what string) {
	in.b.app.Sources = append(in.b.app.Sources, &model.EventSource{LogicalID: r.ID, Kind: kind, Function: function, SourceARN: arn, Pos: position(r.Pos)})
	if what == "" {
		what = " " + r.ID
	}
	in.report(Warning, "event-source-not-supported", r, r.Pos, "The function runs when invoked otherwise.", "%s events are not supported yet:%s.", kind, what)
}

func arnService(arn string) string {
	parts := strings.SplitN(arn, ":", 4)
	if len(parts) < 4 {
		return ""
	}
	return parts[2]
}
