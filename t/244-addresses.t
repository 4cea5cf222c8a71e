# Licensed under the Apache License, Version 2.0; see LICENSE.

# Where a responder is: an IPv6 literal with a port, a name with addresses of
# both families, and the next URI of the certificate where the first is dead or
# cannot be asked at all.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use IO::Socket::IP;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my ($dead) = Staple::Work::free_ports(1);
my %leaf = (
    name   => $ca->leaf(name => 'name.test',
                        ocsp => 'http://localhost:' . $responder->port),
    dead   => $ca->leaf(name => 'dead.test',
                        ocsp => ["http://127.0.0.1:$dead/", $responder->url]),
    scheme => $ca->leaf(name => 'scheme.test',
                        ocsp => ['ldap://127.0.0.1/cn=ocsp',
                                 'https://127.0.0.1/', $responder->url]),
);

# At ::1, where the harness does not look for the control port by itself.
my $has_ipv6 = IO::Socket::IP->new(LocalAddr => '::1', Listen => 1);
my $ipv6;
if ($has_ipv6) {
    $ipv6 = Staple::Responder->new($ca, { args => ['--bind', '::1'] });
    $ipv6->{control} = IO::Socket::IP->new(PeerAddr => '::1',
                                           PeerPort => $ipv6->{control_port});
    $leaf{ipv6} = $ca->leaf(name => 'ipv6.test',
                            ocsp => "http://[::1]:$ipv6->{port}/ocsp?ca=1");
}

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
$httpd->start;
for my $kind (sort keys %leaf) {
    my $got = wait_for_staple($httpd, 'good', name => "$kind.test");

    is($got->{staple}, 'good', "$kind: stapled");
    is($got->{serial}, $leaf{$kind}{serial}, '... with its own response');
}

my ($asked) = grep { $_->{serial} eq $leaf{name}{serial} } $responder->log;
is($asked->{host}, 'localhost:' . $responder->port, 'name: asked by name');
like($httpd->error_log, qr{STP0204: dead\.test .* from \Q${\$responder->url}\E},
     'dead: the second URI has answered');
SKIP: {
    skip('no IPv6 here', 2) if !$has_ipv6;
    my ($request) = $ipv6->log;

    is($request->{host}, "[::1]:$ipv6->{port}", 'ipv6: Host with brackets');
    like($request->{target}, qr{^/ocsp/ME\S+\?ca=1$},
         'ipv6: the query stays behind the path');
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

done_testing;
