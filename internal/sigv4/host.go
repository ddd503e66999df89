package sigv4

import (
	"net"
	"regexp"
	"slices"
	"strings"
)

// AWS's domains, as host suffixes.
var suffixes = [...]string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws"}

// AWSHost reports whether a host name (a port is ignored) is under one of AWS's
// service domains: amazonaws.com, amazonaws.com.cn, api.aws or on.aws.
func AWSHost(host string) bool { _, ok := awsLabels(host); return ok }

// awsLabels are the labels of an AWS host left of the domain.
func awsLabels(host string) ([]string, bool) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, s := range suffixes {
		if rest, ok := strings.CutSuffix(host, s); ok && rest != "" {
			return strings.Split(rest, "."), true
		}
	}
	return nil, false
}

// region matches AWS region names: us-east-1, ap-southeast-2, us-gov-west-1,
// eu-isoe-west-1, me-central-1.
var region = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,3}-\d{1,2}$`)

// signingNames maps endpoint prefixes to the name that requests are signed with,
// where the two differ.
var signingNames = map[string]string{
	"email":                   "ses",
	"queue":                   "sqs",
	"ddb":                     "dynamodb",
	"streams.dynamodb":        "dynamodb",
	"sync-states":             "states",
	"monitoring":              "monitoring",
	"entitlement.marketplace": "aws-marketplace",
	"runtime.lex":             "lex",
	"runtime.sagemaker":       "sagemaker",
	"data.iot":                "iotdata",
	"bedrock-runtime":         "bedrock",
	"appsync-api":             "appsync",
	"appsync-realtime-api":    "appsync",
	"lambda-url":              "lambda",
}

// HostScope reads the service (signing name) and region out of an AWS host
// name. Region is "" for global endpoints. Forms:
//
//	dynamodb.us-east-1.amazonaws.com          {service}.{region}
//	dynamodb.us-east-1.api.aws                dual-stack
//	s3.dualstack.us-east-1.amazonaws.com      dual-stack, older
//	dynamodb-fips.us-east-1.amazonaws.com     FIPS
//	123456789012.ddb.us-east-1.amazonaws.com  account-based
//	bucket.s3.us-east-1.amazonaws.com         resource in front
//	x.execute-api.us-east-1.amazonaws.com
//	x.lambda-url.us-east-1.on.aws
//	vpce-1-2.sqs.us-east-1.vpce.amazonaws.com interface endpoint
//	us-east-1.queue.amazonaws.com             region first (SQS, older)
//	s3-us-west-2.amazonaws.com                region joined (S3, older)
//	sts.amazonaws.com, bucket.s3.amazonaws.com  no region
//
// ok is false when host is not an AWS host.
func HostScope(host string) (scope Scope, ok bool) {
	labels, ok := awsLabels(host)
	if !ok {
		return scope, false
	}
	if n := len(labels); n > 1 && labels[n-1] == "vpce" {
		labels = labels[:n-1]
	}
	if i := lastRegion(labels); i >= 0 {
		scope.Region = labels[i]
		labels = slices.Delete(slices.Clone(labels), i, i+1)
	}
	if n := len(labels); n > 1 && labels[n-1] == "dualstack" {
		labels = labels[:n-1]
	}
	if len(labels) == 0 {
		return scope, true
	}
	if n := len(labels); n > 1 {
		if name := signingNames[labels[n-2]+"."+labels[n-1]]; name != "" {
			scope.Service = name
			return scope, true
		}
	}
	name := strings.TrimSuffix(labels[len(labels)-1], "-fips")
	if rest, found := strings.CutPrefix(name, "s3-"); found {
		// Older regional, accelerate and website endpoints of S3.
		name = "s3"
		if region.MatchString(rest) {
			scope.Region = rest
		}
	}
	if s := signingNames[name]; s != "" {
		name = s
	}
	scope.Service = name
	return scope, true
}

func lastRegion(labels []string) int {
	for i := len(labels) - 1; i >= 0; i-- {
		if region.MatchString(labels[i]) {
			return i
		}
	}
	return -1
}
