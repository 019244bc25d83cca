#include "io/outgoing_policy.h"

#include "base/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool may(const char *list, const char *text)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return outgoing_policy_allows_address(list, (struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return outgoing_policy_allows_address(list, (struct sockaddr *)&v6);
}

static void test_addresses(void **state)
{
	static const char *const public[] = { "1.1.1.1", "93.184.216.34", "11.0.0.1", "172.32.0.1", "172.15.255.255", "192.167.1.1",
					      "100.63.0.1", "100.128.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
					      "::ffff:1.1.1.1" };
	static const char *const closed[] = { "0.0.0.0", "10.1.2.3", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1",
					      "172.31.255.255", "192.168.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1",
					      "::", "::1", "fe80::1", "fd00::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
					      "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1" };
	for (size_t i = 0; i < ARRAY_SIZE(public); i++)
		if (!may("*", public[i]))
			fail_msg("%s is public", public[i]);
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
		if (may("* example.org", closed[i]))
			fail_msg("%s is not public", closed[i]);
	assert_true(may("10.0.0.0/8", "10.1.2.3"));
	assert_true(may("10.0.0.0/8", "::ffff:10.1.2.3"));
	assert_false(may("10.0.0.0/8", "11.1.2.3") && !may("", "11.1.2.3"));
	assert_true(may("x, 127.0.0.1/32 ,fd00::/8", "127.0.0.1") && may("x, 127.0.0.1/32 ,fd00::/8", "fd12::1"));
	assert_false(may("127.0.0.1/32", "127.0.0.2"));
	assert_true(may("192.168.128.0/17", "192.168.200.1") && !may("192.168.128.0/17", "192.168.1.1"));
}

static void test_hosts(void **state)
{
	assert_false(outgoing_policy_allows_host("", "example.org"));
	assert_true(outgoing_policy_allows_host("*", "example.org"));
	assert_true(outgoing_policy_allows_host("a.org, Data.Example.org", "data.example.ORG"));
	assert_true(outgoing_policy_allows_host("*.example.org", "a.b.example.org"));
	assert_false(outgoing_policy_allows_host("*.example.org", "example.org"));
	assert_false(outgoing_policy_allows_host("*.example.org", "badexample.org"));
	assert_false(outgoing_policy_allows_host("example.org", "example.org.evil.net"));
	assert_false(outgoing_policy_allows_host("10.0.0.0/8", "10.0.0.1")); /* a block says nothing of who may be asked */
}

static void test_lists(void **state)
{
	assert_int_equal(outgoing_policy_check("", NULL), ERR_OK);
	assert_int_equal(outgoing_policy_check("*, *.a.org b.org 10.0.0.0/8 fd00::/8 ::1", NULL), ERR_OK);
	static const char *const bad[] = { "a b!c", "10.0.0.0/33", "x/8", "10.0.0/8", "https://a.org", "*a.org", "fd00::/129" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (outgoing_policy_check(bad[i], NULL) != ERR_INVALID_ARGUMENT)
			fail_msg("'%s' is wrong", bad[i]);
}

TEST_MAIN(cmocka_unit_test(test_addresses), cmocka_unit_test(test_hosts), cmocka_unit_test(test_lists))
