# Licensed under the Apache License, Version 2.0; see LICENSE.

# Each fault of the responder can be read in every view: on the page, in JSON, in
# lines and metrics, from staplectl, in the error log, by the program of
# StapleMessageCmd and by the preflight's probe. It is the cause why there is no
# staple, and, where a good one is held, why it fails. All of them say the same
# state.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir);
use JSON::PP ();

# What each fault has to be called.
my %cause = (
    'slow 60000' => qr/in time/, 'hang-before' => qr/in time/,
    'hang-middle' => qr/in time/, 'drip 500' => qr/in time/,
    'cut' => qr/cut short|broke/, 'drop' => qr/broke|cut short/,
    'reset' => qr/broke/,
    'http 204' => qr/HTTP status 204/, 'http 404' => qr/HTTP status 404/,
    'http 405' => qr/HTTP status 405/, 'http 500' => qr/HTTP status 500/,
    'http 503 1' => qr/HTTP status 503/,
    'redirect http://127.0.0.1:1/' => qr/refused|redirect|denied/,
    'redirect https://127.0.0.1/' => qr/redirect/,
    'redirect ldap://127.0.0.1/' => qr/redirect/,
    'trylater' => qr/tryLater/, 'malformed' => qr/malformedRequest/,
    'internal' => qr/internalError/, 'sigrequired' => qr/sigRequired/,
    'unauthorized' => qr/unauthorized/,
    'garbage' => qr/not an OCSP response in DER/,
    'garbage 0' => qr/not an OCSP response in DER|empty|cut short/,
    'truncated' => qr/not an OCSP response in DER|cut short/,
    'long 4000' => qr/bytes follow|followed by|after it|not an OCSP/,
    'long 200000' => qr/too large|too long/,
    'expired' => qr/has expired/, 'notyet' => qr/not valid yet/,
    'othercert' => qr/nothing of this certificate/,
    'otherissuer' => qr/nothing of this certificate|signature|signer|signed/,
    'othersigner' => qr/signature|signer|signed/,
    'badsig' => qr/signature/, 'critical' => qr/critical extension/,
    'delegated no-eku' => qr/may not sign/,
    'delegated expired' => qr/signe(?:r|d).*expired/,
    'delegated stranger' => qr/signe(?:r|d)/,
    'unknown' => qr/does not know the certificate/,
);

# A responder for each: what one does is not asked of it for others at once.
my $ca = Staple::CA->new;
my @faults = Staple::Responder->faults;
my $number = 0;
my %responder = map { $_ => Staple::Responder->new($ca) } @faults;
my %leaf = map { $_ => $ca->leaf(name => 'fault' . ++$number . '.test',
                                 ocsp => $responder{$_}->url) } @faults;
is_deeply([sort keys %cause], [sort @faults], 'every fault has its words');

$responder{$_}->tell($_) for @faults;
my $told = write_file('told', '');
my $program = write_file('program', <<"SCRIPT");
#!/bin/sh
echo "\$2 \$1 \$STAPLE_STATE \$STAPLE_SEVERITY: \$STAPLE_CAUSE" >>'$told'
SCRIPT
chmod 0755, $program;
chmod 0666, $told;
my $httpd = Staple::Httpd->new(
    ports => 2,
    conf  => stapling('SSLStaplingResponderTimeout 1', status_conf(),
                      'SSLStaplingErrorCacheTimeout 1', 'StapleWarmup 0',
                      'StapleStatusActions on', "StapleMessageCmd '$program'"),
    vhosts => [map { { cert => $leaf{$_} } } @faults]);
$httpd->start;
my $status = Staple::Status->new($httpd);

# What staplectl says of the ring, by certificate.
my %ctl;
sub ask_staplectl
{
    my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'list',
                           '--json', '-r', $httpd->dir . '/logs/stapling_cache',
                           map { ('-c', $_->{chain}) } values %leaf);

    %ctl = map { $_->{name} => $_ }
        @{ JSON::PP->new->decode($out)->{certificates} };
}

# Every view about one certificate, as the part of it that says why.
sub causes
{
    my ($name) = @_;
    my ($cert) = @{ $status->json("q=$name")->{certificates} };
    my ($row) = $status->page("q=$name")
        =~ m{<td class="c2">(.*?)</td>}s;
    my ($line) = $status->page("auto&q=$name") =~ /cause=([^\n]*)/;

    return { json => $cert->{cause}, page => $row, lines => $line,
             staplectl => $ctl{$name}{cause},
             one => $status->page("id=$cert->{id}")
                 =~ m{<p class="sum[^>]*>(.*?)</p>}s };
}

# What the program was told when the certificate began to fail, in that state.
sub told
{
    my ($name, $state) = @_;

    return (read_file($told) =~ /^\Q$name\E errored $state warning: (.*)$/m
            || read_file($told) =~ /^\Q$name\E errored $state critical: (.*)$/m)
        ? $1 : undef;
}

sub logged
{
    my ($name) = @_;
    my @lines = $httpd->error_log =~ /STP0203: \Q$name\E (.*)/g;

    return $lines[-1];
}

sub check_all
{
    my ($state) = @_;
    my $metrics = $status->page('metrics');
    my @failures = $metrics
        =~ /^staple_fetch_failures_total\{reason="(\w+)"\} [1-9]/mg;

    is_deeply([sort keys %{ $status->json->{failures} }], [sort @failures],
              "$state: metrics and JSON count the same kinds of failures");

    # The file is a copy, a second behind.
    wait_for(sub { ask_staplectl();
                   !grep { $_->{state} ne $state } values %ctl });
    wait_for(sub { !grep { !defined told($leaf{$_}{name}, $state) } @faults });
    for my $fault (@faults) {
        my $name = $leaf{$fault}{name};
        my $causes = causes($name);

        $causes->{program} = told($name, $state);
        $causes->{log} = logged($name);
        is($ctl{$name}{failure}, $status->cert($name)->{failure},
           "$state, $fault: its kind is the same for the server and staplectl");

        is($ctl{$name}{state}, $state, "$state, $fault: staplectl says so");
        like($metrics, qr/^staple_certificate_trouble\{certificate="\Q$name\E",
                          id="\w+",state="$state"/mx, '... the metrics too');

        for my $view (sort keys %$causes) {
            like($causes->{$view} // '', $cause{$fault},
                 "$state, $fault: the cause in $view");
        }
    }
}

ok(wait_for(sub { $status->json->{states}{missing} == @faults
                  && !grep { !$_->{numbers}{failing} }
                     @{ $status->json->{certificates} } }, 60),
   'all of them are missing');
check_all('missing');
my @blameless = grep { !$_->{who} || !$_->{remedy} }
    @{ $status->json->{certificates} };
is(scalar @blameless, 0, 'each says at whom to look and what to do');

# With a good response held, and a reason to renew it soon.
$responder{$_}->tell('clear') for @faults;
ok(wait_for(sub { $status->json->{states}{stapled} == @faults }, 60),
   'healed, all are stapled');
$responder{$_}->tell($_) for @faults;
for my $cert (@{ $status->json->{certificates} }) {
    wait_for(sub { $status->act('refresh', $cert->{id})->{status} == 303 });
}
ok(wait_for(sub { $status->json->{states}{failing} == @faults }, 60),
   'faults later: all of them fail, none is lost');
check_all('failing');

# Asked before a start, they would be missing, for the same reasons.
my ($exit, $out) = $httpd->configtest('-D', 'PROBE_STAPLING', '-D',
                                      'DUMP_STAPLING_JSON');
$out =~ s/^[^{]*(\{.*\})[^}]*\z/$1/s;
my %probe = map { $_->{certificate} => $_ }
    @{ JSON::PP->new->decode($out)->{probe} };
for my $fault (@faults) {
    my $answer = $probe{ $leaf{$fault}{name} };

    is($answer->{state}, 'missing', "the probe, $fault: missing");
    like($answer->{words}, $cause{$fault}, '... and why');
    ok($answer->{who} && $answer->{remedy}, '... and what to do');
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/);

done_testing;
