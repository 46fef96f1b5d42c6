// The write loop of bench/floor in C, for whoever doubts that Go can do it:
// `halley bench floor --floor-c ./floor` runs both in turn.
//
//	cc -O2 -pthread -o floor bench/scenarios/floor.c
//
// Arguments: SOCKETS SNDBUF THREADS. It prints its port, accepts so many sockets,
// and then for each line on stdin, a frame in hex, does one write(2) of it to each
// socket and prints the CPU time that it has used so far, user and system, in µs.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int *fds, n, threads;
static unsigned char *frame;
static ssize_t size;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static void *write_part(void *arg) {
	long i = (long)arg;
	for (long j = n * i / threads; j < n * (i + 1) / threads; j++)
		if (write(fds[j], frame, size) != size)
			die("write");
	return NULL;
}

static void write_all(void) {
	pthread_t ids[threads];
	for (long i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, write_part, (void *)i))
			die("thread");
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
}

static void accept_all(int sndbuf) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int one = 1, ln = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(ln, (struct sockaddr *)&at, len) || listen(ln, 4096) || getsockname(ln, (struct sockaddr *)&at, &len))
		die("listen");
	printf("%d\n", ntohs(at.sin_port));
	for (int i = 0; i < n; i++) {
		if ((fds[i] = accept4(ln, NULL, NULL, SOCK_NONBLOCK)) < 0)
			die("accept");
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
	}
	printf("accepted\n");
}

int main(int argc, char **argv) {
	if (argc != 4)
		return fprintf(stderr, "usage: floor SOCKETS SNDBUF THREADS\n"), 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	n = atoi(argv[1]);
	threads = atoi(argv[3]);
	fds = calloc(n, sizeof *fds);
	accept_all(atoi(argv[2]));
	char *line = NULL;
	size_t room = 0;
	for (ssize_t len; (len = getline(&line, &room, stdin)) > 0;) {
		size = len / 2;
		frame = realloc(frame, size + 1);
		for (ssize_t i = 0; i < size; i++)
			sscanf(line + 2 * i, "%2hhx", &frame[i]);
		write_all();
		struct rusage r;
		getrusage(RUSAGE_SELF, &r);
		printf("%ld\n", (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000L + r.ru_utime.tv_usec + r.ru_stime.tv_usec);
	}
	return 0;
}
