// Package topic is channel names, filters over them, and the index that says,
// for one name, who subscribed to a filter that matches it.
//
// A [Channel] is what is published to, such as "news/sport": segments between
// slashes, checked and brought into one spelling by a [Grammar]. A [Filter] is
// what is subscribed to: a channel, or everything below one, "news/*".
//
// An [Index] holds subscriptions of any value T, each in a group: a number that
// the caller gives a meaning, such as the event loop that serves the subscriber.
// What it promises:
//   - [Index.Match] takes no lock and writes nothing, so it never waits for a
//     subscriber, and publishers do not wait for each other. It costs one lookup,
//     and one or two more per segment while there are wildcards;
//   - a [View] is what was subscribed at one moment: a subscription that returned
//     before Match was called is in it unless it was given up, one that began
//     after Match returned is not, for as long as the view is read. A stable
//     subscription is met exactly once, however many come and go meanwhile;
//   - a subscription that was given up is in no view any more, not even in those
//     taken before ([Subscription.In]);
//   - Subscribe and Unsubscribe cost O(length of the name), amortised, whatever
//     the number of subscribers, and never more than one chunk's worth of work;
//   - memory follows the subscriptions there are, not those there were.
//
// Views of several filters that match one channel are taken one after the other.
// A subscriber that exchanges one such filter for another while Match runs may
// therefore be in both views or in neither.
//
// The index does not know who subscribes: a subscriber that subscribes twice is
// there twice.
package topic
