/* ADDRESS ROUNDS: UDP traceroute with 16 probes in flight, so many per hop, hop after hop, as
   Debian's does. Prints the ns from the first probe to the last answer that was needed, then one
   address per hop. */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { PORT = 33434, MOST_HOPS = 30, MOST_ROUNDS = 10, IN_FLIGHT = 16, WAIT_MS = 2000 };

static struct in_addr from[MOST_HOPS * MOST_ROUNDS];

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Which probe was answered, or -1; `type` is the ICMP type. */
static int hear(int fd, struct in_addr target, int *type)
{
    unsigned char data[2048];
    long size = recv(fd, data, sizeof data, 0);
    struct ip *outer = (struct ip *)data;
    int at = 4 * outer->ip_hl;
    if (size < at + 8 + 28)
        return -1;
    *type = data[at];
    struct ip *quoted = (struct ip *)(data + at + 8);
    struct udphdr *udp = (struct udphdr *)(data + at + 8 + 4 * quoted->ip_hl);
    int number = ntohs(udp->uh_dport) - PORT;
    if (quoted->ip_dst.s_addr != target.s_addr || quoted->ip_p != IPPROTO_UDP || number < 0 ||
        number >= MOST_HOPS * MOST_ROUNDS || from[number].s_addr)
        return -1;
    from[number] = outer->ip_src;
    return number;
}

int main(int count, char **words)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (count != 3 || inet_pton(AF_INET, words[1], &to.sin_addr) != 1)
        return 2;
    int rounds = atoi(words[2]);
    if (rounds < 1 || rounds > MOST_ROUNDS)
        return 2;
    int icmp = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), udp = socket(AF_INET, SOCK_DGRAM, 0);
    if (icmp < 0 || udp < 0)
        return perror("socket"), 1;
    char payload[32] = {0};
    int hops = MOST_HOPS, sent = 0, answered = 0;
    long long start_ns = now_ns(), end_ns = start_ns;
    while (answered < hops * rounds) {
        while (sent < hops * rounds && sent - answered < IN_FLIGHT) {
            int ttl = sent / rounds + 1;
            setsockopt(udp, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
            to.sin_port = htons((unsigned short)(PORT + sent++));
            sendto(udp, payload, sizeof payload, 0, (struct sockaddr *)&to, sizeof to);
        }
        struct pollfd ready = {icmp, POLLIN, 0};
        int type, number;
        if (poll(&ready, 1, WAIT_MS) <= 0)
            break;
        if ((number = hear(icmp, to.sin_addr, &type)) < 0)
            continue;
        if (type == ICMP_UNREACH && number / rounds + 1 < hops)
            hops = number / rounds + 1;
        answered = 0;
        for (int k = 0; k < hops * rounds; k++)
            answered += from[k].s_addr != 0;
        end_ns = now_ns();
    }
    printf("%lld\n", end_ns - start_ns);
    for (int hop = 0; hop < hops; hop++)
        printf("%s\n", from[hop * rounds].s_addr ? inet_ntoa(from[hop * rounds]) : "*");
    return answered == hops * rounds ? 0 : 1;
}
