// Package attempt is the launcher's side of one attempt of a run.
//
//	accept ─► judge the job ─► prepare ─► starting ─► release ─► watch ─► outcome ─► done
//	             │ refused        │ failed                          │         ├─► park ─► parked
//	             └────────────────┴─► outcome                       │         └─► next job: prepare …
//	                                                                │
//	                              beats, log, events, requests ◄────┘
//
// A container is started while its source is still being fetched, and waits for
// in/job.json. That file is written only after the mothership has recorded the
// container's start: from there on something may have run.
//
// What a restarted launcher needs is in private/record.json of the run directory
// (Record). Before the release there is nothing worth adopting: the job is asked
// for again. After it the container is watched on from where the notes say.
//
// Nothing that the container wrote is believed beyond its bytes: see package
// rundir for the files and package state for requests.
package attempt
