# Licensed under the Apache License, Version 2.0; see LICENSE.

# A wildcard certificate that several virtual hosts share is asked about once
# and stapled by all of them, but for the host that switches stapling off. The
# first of them in the configuration decides how, whatever the others say, or do
# not say.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $wildcard = $ca->leaf(name => '*.shared.test', ocsp => $responder->url);

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ cert => $wildcard, name => 'off.shared.test',
                 conf => 'SSLUseStapling off' },
               map { { cert => $wildcard, name => "$_.shared.test" } }
                   qw(a b c)]);
$httpd->start;

for my $name (map { "$_.shared.test" } qw(a b c)) {
    is(wait_for_staple($httpd, 'good', name => $name)->{staple}, 'good',
       "$name: stapled");
}
is(handshake($httpd, name => 'off.shared.test')->{staple}, 'none',
   'off.shared.test: no staple, though the certificate has one');
is($responder->count, 1, 'the responder was asked once');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

# Those with a directive of ours and those without, in either order.
my $forced = $responder->url('/forced');
for my $case ([[$forced, ''], 'forced'], [['', $forced], ''],
              [[$forced, $responder->url('/other')], 'forced'],
              [['', '', $forced], '']) {
    my ($urls, $expected) = @$case;
    my $name = 'a';
    my $server = Staple::Httpd->new(
        conf   => stapling(),
        vhosts => [map { { cert => $wildcard, name => $name++ . '.shared.test',
                           conf => $_ ? "SSLStaplingForceURL $_" : '' } }
                       @$urls]);

    $server->start;
    wait_for_staple($server, 'good', name => 'a.shared.test');
    my ($first, $asked) = $server->error_log
        =~ m{STP0204: \S+ \(([^):]+):\d[^)]*\):.*http://[^/]+/(\w*) at};
    my $title = join ', ', map { s{.*/}{}r || '-' } @$urls;
    is($first, 'a.shared.test', "$title: it is the first one's");
    is($asked, $expected, '... and that one has the say');
    ok($server->stop, '... httpd stops in good order');
    $server->log_ok;
}

done_testing;
