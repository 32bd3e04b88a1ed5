/*
 * A clock that runs FAST_CLOCK times as fast, for tests of what waits for seconds: sleeps, time limits and what is told of the time
 * are in the same proportion as ever. Work is not: it seems to take as many times as long. CMakeLists.txt links it in.
 */
#ifndef COFFER_TESTS_UNIT_FAST_CLOCK_H
#define COFFER_TESTS_UNIT_FAST_CLOCK_H

#define FAST_CLOCK 20

#endif
