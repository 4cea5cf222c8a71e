# Licensed under the Apache License, Version 2.0; see LICENSE.

# What the refresher counts of its share stands in every view, whichever child is
# asked, survives a restart, and says when the share does not answer and when
# it does again. staplectl has it as well, from the file.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir tool);

my ($kind) = grep { Staple::Store->program($_)
                    && has_httpd_module("socache_$_") } qw(memcache redis);
plan skip_all => 'neither memcached nor redis-server with its socache here'
    if !$kind;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $store = Staple::Store->new($kind);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);

sub server
{
    my (@conf) = @_;
    my $httpd = Staple::Httpd->new(
        ports => 2, modules => ["socache_$kind"],
        conf => stapling(status_conf(), 'StapleStatusActions on', @conf),
        vhosts => [{ cert => $leaf }]);

    $httpd->start;
    wait_for_staple($httpd, 'good');
    return ($httpd, Staple::Status->new($httpd));
}

my ($first, $status) = server('StapleShare ' . $store->spec);

sub numbers { return $status->json->{share}{numbers} }

# --- what is counted ---------------------------------------------------------

ok(wait_for(sub { numbers()->{stored} == 1 }), 'what was fetched was given');
my $numbers = numbers();
is($numbers->{misses}, 1, '... after it was looked for and not found');
is($numbers->{$_}, 0, "... and no $_") for qw(hits foreign dropped errors silent);
is($numbers->{last_error}, undef, '... nor an error');
like($status->json->{share}{words}, qr/^in use since 20\d\d-/,
     'and so it is said');
my @wrong = Staple::Status::against_schema(Staple::Status::schema(),
                                           $status->json);
ok(!@wrong, 'the schema knows it') or diag join "\n", @wrong;

my $id = $status->cert('www.test')->{id};
my ($page) = $status->page =~ m{<h2 id="share">Share</h2>(.*)}s;
like($page, qr{<dt>Given</dt><dd>1</dd>}, 'the page has it');
like($page, qr{through $kind; in use since 20}, '... with the provider');
is(Staple::Status::html_is_balanced($status->page), undef, '... and is whole');
like($status->page('auto'), qr/^StapleShareStored: 1$/m, 'the lines have it');
my $metrics = $status->page('metrics');
like($metrics, qr/^staple_share_stored_total 1$/m, 'the metrics have it');
SKIP: {
    skip('no promtool', 1) if !tool('promtool');
    my ($exit, $said) = run('sh', '-c', 'promtool check metrics < '
                            . write_file('metrics.txt', $metrics));
    is($said, '', 'promtool has nothing to say of that');
}

sub ctl
{
    my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'list', '-r',
                           $_[0]->dir . '/logs/stapling_cache', @_[1 .. $#_]);
    return $out;
}
ok(wait_for(sub {
    ctl($first) =~ /^share: Found 0, Not found 1, .* Given 1,.*in use since/m
}), 'staplectl has it');
is(decode_json(ctl($first, '--json'))->{share}{numbers}{stored}, 1,
   '... as JSON, too');

# --- a second server, and one without a share --------------------------------

(my $second, $status) = server('StapleShare ' . $store->spec);
ok(wait_for(sub { numbers()->{hits} == 1 }), 'another server finds it there');
my $cert = $status->cert('www.test');
is($cert->{outcome}, 'found in the share', '... and says so');
is($cert->{url}, undef, '... no responder was asked');
is($cert->{numbers}{wait_took}, undef, '... nor waited for');
is($status->json->{responders}[0]{numbers}{last_success}, undef,
   '... and the success is not the responder\'s');
ok($second->stop, 'httpd stops in good order');
$second->log_ok;

(my $alone, $status) = server();
is($status->json->{share}, undef, 'without a share there is nothing');
unlike($status->page('metrics') . $status->page('auto') . $status->page,
       qr/staple_share|StapleShareHits|"share"/, '... in no view');
unlike(ctl($alone), qr/^share/m, '... nor in staplectl');
ok($alone->stop, 'httpd stops in good order');
$alone->log_ok;

# --- restarts, and a share that does not answer ------------------------------

$status = Staple::Status->new($first);
$first->graceful;
ok(wait_for(sub { numbers()->{since} }), 'a restart: the next refresher is there');
is(numbers()->{$_}, 1, "... with the $_ of before") for qw(stored misses);

$store->freeze;
ok(wait_for(sub { $status->act('refresh', $id); numbers()->{silent} }, 30),
   'a share that hangs is silent');
like($status->json->{share}{words},
     qr/^it has not answered since 20.*; last error .*: it took too long$/,
     '... which is said');
like($status->page('metrics'), qr/^staple_share_silent 1$/m,
     '... in the metrics');
ok(wait_for(sub { ctl($first) =~ /^share: .*; it has not answered since 20/m }),
   '... by staplectl');
$store->thaw;
ok(wait_for(sub { $status->act('refresh', $id); !numbers()->{silent} }, 90),
   '... until it answers again');
cmp_ok(numbers()->{errors}, '>=', 1, '... with an error more');
ok(numbers()->{last_error}, '... and when');

ok($first->stop, 'httpd stops in good order');
$first->log_ok(qr/socache|AH00[78]\d\d|STP0301/);
$store->end;

done_testing;
