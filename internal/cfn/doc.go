// Package cfn reads CloudFormation and SAM templates: YAML and JSON, with the
// file, line and column of every value kept to the end.
//
// [Load] parses a template, binds parameters, decides conditions, expands
// AWS::LanguageExtensions loops and the SAM transform, and checks every
// reference. What comes back is a [Template]: the active resources, in source
// order, whose properties are still expressions. [Template.Eval] resolves one
// expression; what a Ref or GetAtt of a resource yields is asked of the
// [Binding]'s Attributes function, so the package knows no resource type except
// SAM's own.
//
// Promises:
//   - Nothing panics and nothing is fetched: file access is the caller's Read.
//   - Every mistake is a [Problem] with a position, a stable code, what is wrong
//     and what to do. One mistake is reported once: a value that could not be
//     resolved becomes a node of kind [Bad], which is silent from then on.
//   - Inputs are bounded in bytes, depth and expanded size, so alias bombs end
//     in a Problem.
//   - Values are read as CloudFormation reads them (YAML 1.1): yes/no/on/off
//     are booleans, dates and numbers with a leading zero stay text. Duplicate
//     keys are mistakes.
//
// A Template is not safe for concurrent use: Eval memoises conditions and
// collects problems.
package cfn
