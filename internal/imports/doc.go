// Package imports has no code: its test holds the packages of podlet to the arrows between them. Each rule says why it is there, and the test
// prints that reason when the rule is broken. A new top-level package needs a rule before it may import anything.
package imports
