# Licensed under the Apache License, Version 2.0; see LICENSE.

# StapleMessageCmd's program is told of each change, once: a new response,
# attempts that begin to fail, the recovery, a revocation.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $told = write_file('told', '');
my $program = write_file('program', <<"SCRIPT");
#!/bin/sh
echo "\$* [\$STAPLE_STATE,\$STAPLE_SEVERITY,\$STAPLE_CAUSE] \$STAPLE_REMEDY" >>'$told'
SCRIPT

chmod 0755, $program;
chmod 0666, $told;

my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1',
                       "StapleMessageCmd '$program' first"),
    vhosts => [{ cert => $leaf }]);

sub told
{
    my ($pattern) = @_;

    return scalar grep { /$pattern/ } split /\n/, read_file($told);
}

$httpd->start;
ok(wait_for(sub { told(qr/^first renewed www\.test \w+ www\.test:\d+ valid/) }),
   'renewed, with all that is promised');

$responder->tell('http 500');
ok(wait_for(sub { told(qr/^first errored www\.test .*500.*keeping/) }),
   'errored, with the cause and what is served meanwhile');
$responder->tell('reset-counters');
ok(wait_for(sub { $responder->count >= 6 }), 'more attempts');
is(told(qr/ errored /), 1, '... are not told again');
is(told(qr/ errored .*\[failing,warning,HTTP status 500\] run: curl -v http/), 1,
   '... with the state, its severity, its cause and a remedy');

$responder->good;
ok(wait_for(sub { told(qr/^first recovered www\.test .*valid until/) }),
   'recovered');
is(told(qr/ recovered .*\[stapled,ok,\] $/), 1, '... with its state');

$responder->tell('revoked');
ok(wait_for(sub { told(qr/^first revoked www\.test .*revoked at/) }),
   'revoked');
is(told(qr/ revoked .*\[revoked,critical,\] get a new one/), 1,
   '... with its state and a remedy');
is(told(qr/ revoked /), 1, '... once');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

done_testing;
