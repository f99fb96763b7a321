// Package rootca reads the certificates of private authorities, which are believed
// beside those that a system has, and makes the bundles by which programs are told
// of them.
package rootca
