/** What a run has measured: a summary for people, one JSON object for programs. Thread: one. */
#ifndef SLC_PERF_REPORT_H
#define SLC_PERF_REPORT_H

#include <stdio.h>

#include "perf/run.h"

/** problem: NULL, or the sentence of the error that ended the run; status: what the process will exit with. */
void slc_perf_report_text(const slc_perf_run *run, FILE *out);
void slc_perf_report_json(const slc_perf_run *run, const char *problem, int status, FILE *out);

#endif
