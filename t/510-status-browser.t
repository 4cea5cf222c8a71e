# Licensed under the Apache License, Version 2.0; see LICENSE.

# A real browser without JavaScript clicks through the status page, on a phone
# and on a wide screen, light and dark: all of it fits, works, comes from here
# and passes its own Content-Security-Policy.
#
# Needs node, playwright-core (t/check --full has npm bring it; PLAYWRIGHT_CORE
# says where it is if node does not find it) and a Chromium. STAPLE_PICTURES=DIRECTORY keeps pictures.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(source_dir);

my ($chromium) = grep { defined } map { tool($_) } qw(chromium
                                                      chromium-browser);
plan skip_all => 'no node' if !tool('node');
plan skip_all => 'no chromium' if !$chromium;
plan skip_all => 'no playwright-core (t/check --full brings it)'
    if scalar run('node', '-e',
                  "require(process.env.PLAYWRIGHT_CORE || 'playwright-core')");

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = (
    good => $ca->leaf(name => 'good.test', ocsp => $responder->url),
    long => $ca->leaf(name => ('long-label-' x 5) . 'x.test',
                      ocsp => $responder->url(('/a-long-path' x 12))),
    down => $ca->leaf(name => 'down.test', ocsp => 'http://127.0.0.1:1/'),
    revoked => $ca->leaf(name => 'revoked.test', ocsp => $responder->url),
    none => $ca->leaf(name => 'none.test'),
);
# More than a page has room for.
my @more = $ca->leaves(60, ocsp => $responder->url);
$responder->tell('revoked', $leaf{revoked});
my $httpd = Staple::Httpd->new(
    ports => 2, conf => stapling(status_conf(), 'StapleStatusActions on'),
    vhosts => [map { { cert => $_ } } @leaf{sort keys %leaf}, @more]);
$httpd->start;
my $status = Staple::Status->new($httpd);
ok(wait_for(sub { my $v = $status->json->{states};
                  $v->{stapled} == 62 && $v->{revoked} && $v->{missing} }),
   'there is something to see');

my ($exit, $said) = run('node', source_dir() . '/t/tools/browse.js',
                        'http://127.0.0.1:' . $httpd->port(2) . '/staple',
                        $chromium, $ENV{STAPLE_PICTURES} // ());
my @lines = split /\n/, $said;
for my $i (0 .. $#lines) {
    next if $lines[$i] !~ /^(not )?ok - (.*)/;
    ok(!$1, $2) or diag $lines[$i + 1] // '';
}
is($exit, 0, 'the browser came to its end') or diag $said;

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

done_testing;
