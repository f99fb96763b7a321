// Package space is spaces: what things belong to, and where roles hold. This
// version has the one that every installation has; things name their space and
// every service asks for it from the first day.
package space
