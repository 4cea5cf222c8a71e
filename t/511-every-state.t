# Licensed under the Apache License, Version 2.0; see LICENSE.

# A server with a certificate in each state that can last: page, JSON, lines,
# metrics, mod_status's count and staplectl call it by the same name, count as
# many, and are as alarmed. What cannot last is left to t/022-report: "not
# verified yet" ends as the server starts, and "invalid" is what a client sees.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir);

use constant DAY => 86400;

my $ca = Staple::CA->new;
my %responder;

# A certificate with a responder of its own, which obeys a command.
sub leaf
{
    my ($state, $command, %o) = @_;

    $responder{$state} = Staple::Responder->new($ca);
    my $leaf = $ca->leaf(name => "$state.test" =~ tr/_/-/r,
                         ocsp => $responder{$state}->url, %o);
    $responder{$state}->tell($command) if $command;
    return $leaf;
}

my @sites = (
    [refused  => leaf('refused', 'http 500', must_staple => 1)],
    [revoked  => leaf('revoked', 'revoked 3600 1')],
    [error    => leaf('error', 'trylater'),
     'SSLStaplingReturnResponderErrors on'],
    [expiring => leaf('expiring', sprintf 'validity %d %d', -9 * DAY, 3600)],
    [missing  => leaf('missing', 'http 500')],
    [too_old  => leaf('too_old', sprintf 'validity %d %d', -11 * DAY,
                      90 * DAY)],
    [waiting  => leaf('waiting', 'hang-before'),
     'SSLStaplingResponderTimeout 600'],
    [failing  => leaf('failing')],
    [stapled  => leaf('stapled')],
    [not_applicable => $ca->leaf(name => 'not-applicable.test')],
    [no_room  => leaf('no_room')],
);
my %name = map { $_->[0] => $_->[1]{name} } @sites;


# A server whose ring has so many bytes.
sub server
{
    my ($size) = @_;

    return Staple::Httpd->new(
        ports => 2, modules => ['status'],
        conf  => join("\n", 'SSLUseStapling on',
                      "SSLStaplingCache shmcb:logs/stapling_cache($size)",
                      'StapleCacheGrow off', 'StapleWarmup 0',
                      'SSLStaplingErrorCacheTimeout 1',
                      'StapleStatusActions on', status_conf()),
        vhosts => [map { { cert => $_->[1], conf => $_->[2] // '' } } @sites]);
}

my @quiet = (qr/\[staple:(?:warn|error|crit)\]/, qr/AH0(?:2217|2604|1909)/);

# How many bytes all of them need, the log says; with one byte less, the last of
# the configuration finds no place.
my $small = server(8192);
$small->start;
my ($needed) = $small->error_log =~ /STP0106.*stapling_cache\((\d+)\)/;
ok($small->stop, 'httpd stops in good order');
$small->log_ok(@quiet);
my $httpd = server($needed - 1);
$httpd->start;
my $status = Staple::Status->new($httpd);

sub state_of { return $status->cert($name{ $_[0] })->{state} // '' }

# What was stapled once, and is not renewed.
ok(wait_for(sub { state_of('failing') eq 'stapled' }), 'a response came');
$responder{failing}->tell('http 500');
$status->act('refresh', $status->cert($name{failing})->{id});
for my $site (@sites) {
    ok(wait_for(sub { state_of($site->[0]) eq $site->[0] }), $site->[0])
        or is(state_of($site->[0]), $site->[0], '...');
}

# ----- the same in every view -----

my $json = $status->json;
my %severity = map { $_->{state} => $_->{severity} }
    @{ $json->{certificates} };
my $said;
sub said
{
    my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', @_, '-r',
                           $httpd->dir . '/logs/stapling_cache',
                           map { ('-c', $_->[1]{chain}) } @sites);
    return $out;
}
# The file is a copy, a second behind.
ok(wait_for(sub {
    $said = decode_json(said('list', '--json'));
    return encode_states($said) eq encode_states($json);
}), 'staplectl counts the same') or is(encode_states($said),
                                       encode_states($json), '...');
is($said->{summary}, $json->{summary}, '... and sums it up alike');

sub encode_states
{
    my $states = $_[0]{states};

    return join ' ', map { "$_=$states->{$_}" } sort keys %$states;
}

my %said = map { $_->{name} => $_ } @{ $said->{certificates} };
my $metrics = $status->page('metrics');
my $list = said('list');
for my $state (map { $_->[0] } @sites) {
    my $name = $name{$state};
    my ($cert) = @{ $status->json("state=$state")->{certificates} };
    my $page = $status->page("state=$state");
    my ($text) = $page =~ m{<td class="c2"><span class="tag[^>]*>(.*?)</span>};

    is($cert->{name}, $name, "$state: JSON finds it by its state");
    is($json->{states}{$state}, 1, '... and counts it');
    like($page, qr/\Q$name\E/, '... the page finds it, too');
    ok($text, '... and has words for it') or diag($page);
    like($status->page("id=$cert->{id}"), qr/<p class="sum[^>]*>\Q$text\E[:<]/,
         "... the same on its own page: $text");
    like($status->page("auto&state=$state"),
         qr/^StapleCertificate: $state\t\Q$name\E\t/m, 'lines');
    like($metrics, qr/^staple_state_certificates\{state="$state"\} 1$/m,
         'metrics');
    is($said{$name}{state}, $state, 'staplectl, for programs');
    is($said{$name}{severity}, $severity{$state}, '... as severe');
    is($said{$name}{cause}, $cert->{cause}, '... for the same cause');
    like($list, qr/^$state\s.*\Q$name\E/m, '... and for people');
}

# What people read of it.
my $page = $status->page;
unlike($page, qr{<td class="c4"[^>]*><time[^>]*>[^<]* ago<},
       'a request whose time has come is due now, and not some time ago');
like($page, qr{HTTP status 500</span><span class="dim">, for <time},
     'a cause and for how long are two things');
like($page, qr/1 certificate keeps a valid response until 20/,
     'one response has one end');
$page = $status->page('id=' . $status->cert($name{missing})->{id});
like($page, qr{<dt>Next update</dt><dd>-</dd>},
     'a response that is not there has no times');
is(scalar(() = $page =~ /took/g), 3, 'what took how long is said once');

# ----- a responder fails, and there is more to it -----

# The card of what is wrong that begins with this, and its colour.
sub card
{
    my ($title) = @_;
    my ($trouble) = $status->page =~ m{<section id="trouble">(.*?)</section>}s;
    my ($colour) = $trouble =~ m{<article class="card (\w+)"><h3>\Q$title\E}s;

    return $colour // 'none';
}

for my $state (qw(revoked expiring)) {
    $responder{$state}->tell('http 500');
    $status->act('refresh', $status->cert($name{$state})->{id});
    ok(wait_for(sub { $status->cert($name{$state})->{numbers}{failing} }),
       "$state, and then the responder fails");
    is(state_of($state), $state, '... the state stays');
}
is(card('revoked: '), 'bad', 'that it is revoked is said all the same');
is(card('127.0.0.1:' . $responder{revoked}->port), 'warn',
   '... and of the responder that the response stays valid');
is(card('127.0.0.1:' . $responder{expiring}->port), 'bad',
   'it is worse where the response soon ends');
is(card('127.0.0.1:' . $responder{failing}->port), 'warn',
   '... than where it does not');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(@quiet);

done_testing;
