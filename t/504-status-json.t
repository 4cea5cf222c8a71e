# Licensed under the Apache License, Version 2.0; see LICENSE.

# ?json and staplectl --json are as docs/status.schema.json says, and
# docs/status.md lists every number and every state with the meaning that the
# source gives it.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir source_dir);
use JSON::PP ();

# --- the numbers and their manual -------------------------------------------

my $source = read_file(source_dir() . '/report/numbers.c');
my $manual = read_file(source_dir() . '/docs/status.md');
my %unit = (NONE => '', BYTES => ', bytes', TIME => ', a moment',
            SPAN => ', seconds');
my %title = (server => 'Of the server', cert => 'Of a certificate',
             responder => 'Of a responder', share => 'Of the share',
             refresher => 'Of the refresher');
my %numbers;

my $label = qr/"[^"]*"|NULL/;
while ($source =~ /NUMBER\((\w+), (\w+), (\w+), (\w+), $label,\s*"(.*?)"\)/gs) {
    push @{ $numbers{$1} }, "| `$2` | " . lc($3) . "$unit{$4} | $5 |";
}
for my $of (sort keys %title) {
    my ($section) = $manual =~ /^### $title{$of}\n(.*?)(?=^##|\z)/ms;

    cmp_ok(scalar @{ $numbers{$of} }, '>', 3, "$of: numbers are declared");
    is_deeply([$section =~ /^(\| `.*)$/mg], $numbers{$of},
              '... and the manual has them');
}

# --- the states and their manual --------------------------------------------

my ($table) = read_file(source_dir() . '/staple_state.c')
    =~ /\bstates\[STAPLE_STATES\] = \{\n(.*?)^\};/ms;
my (@states, @rows);

while ($table =~ /\{\s"(\w+)",\s+"([^"]+)",\s+STAPLE_SEVERITY_(\w+),\s*
                  ((?:"[^"]*"\s*)+)\}/gx) {
    my ($name, $text, $severity) = ($1, $2, lc $3);
    my $meaning = join '', $4 =~ /"([^"]*)"/g;

    push @states, $name;
    push @rows, "| `$name` | $text | $severity | $meaning |";
}
cmp_ok(scalar @states, '>=', 12, 'states are declared');
my ($section) = $manual =~ /^## States\n(.*?)(?=^##|\z)/ms;
is_deeply([$section =~ /^(\| `.*)$/mg], \@rows,
          '... and the manual has them in the same words');

# --- the kinds of failures and their manual ---------------------------------

my @failures = read_file(source_dir() . '/state/advice.c')
    =~ /\{ STAPLE_(?:FETCH|OCSP)_\w+, "(\w+)"/g;
cmp_ok(scalar @failures, '>', 30, 'kinds of failures are declared');
($section) = $manual =~ /^## Failures\n(.*?)(?=^##|\z)/ms;
is_deeply([$section =~ /^\| `(\w+)`/mg], \@failures,
          '... and the manual has them');

# --- the schema -------------------------------------------------------------

my $schema = Staple::Status::schema();
is_deeply([sort @{ $schema->{properties}{certificates}{items}{properties}
                       {state}{enum} }], [sort @states],
          'the schema has the states');
is_deeply([sort @{ $schema->{properties}{states}{required} }],
          [sort @states], '... and wants a count of each');
my %in_schema = (
    server => $schema->{properties}{numbers},
    cert => $schema->{properties}{certificates}{items}{properties}{numbers},
    responder => $schema->{properties}{responders}{items}{properties}{numbers},
    share => $schema->{properties}{share}{properties}{numbers},
    refresher => $schema->{properties}{refresher}{properties}{numbers},
);
for my $of (sort keys %in_schema) {
    my @names = map { /`(\w+)`/ } @{ $numbers{$of} };

    is_deeply([sort keys %{ $in_schema{$of}{properties} }], [sort @names],
              "$of: the schema has the numbers");
    is_deeply([sort @{ $in_schema{$of}{required} }], [sort @names],
              '... and wants each');
}

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "$_.test", ocsp => $responder->url) }
    qw(good revoked later);
$responder->tell('revoked', $leaves[1]);
$responder->tell('trylater', $leaves[2]);
$responder->tell('delegated good', $leaves[0]);
my $httpd = Staple::Httpd->new(
    ports => 2, conf => stapling(status_conf()),
    vhosts => [map({ { cert => $_ } } @leaves),
               { cert => $ca->leaf(name => 'none.test') }]);
$httpd->start;
my $status = Staple::Status->new($httpd);

sub fits
{
    my ($data, $what) = @_;
    my @wrong = Staple::Status::against_schema($schema, $data);

    ok(!@wrong, $what) or diag join "\n", @wrong;
}

fits($status->json, 'before anything was fetched or just after');
ok(wait_for(sub { my $v = $status->json->{states};
                  $v->{stapled} && $v->{revoked}
                  && $status->cert('later.test')->{outcome} }),
   'all were asked');
fits($status->json, 'with several states');
fits($status->json('show=attention'), 'with a filter');
fits($status->json('q=nothing-like-it'), 'with nothing to show');
my $one = $status->json('id=' . $status->cert('good.test')->{id});
fits($one, 'of one certificate');
my @lines = @{ $one->{certificates}[0]{response}{lines} };
is(scalar grep({ $_->{name} eq 'Certificate included by the responder' }
               @lines), 1, '... with its response, the delegate too');
my ($alone) = grep { $_->{name} eq 'Responder, by name' } @lines;
ok($alone, '... and who it is from');

# The validator is not blind.
my $spoilt = $status->json;
$spoilt->{certificates}[0]{state} = 'splendid';
delete $spoilt->{numbers}{served};
$spoilt->{time} = 'now';
is(scalar Staple::Status::against_schema($schema, $spoilt), 3,
   'three things that are wrong are found');
$spoilt = $status->json;
$spoilt->{extra} = $spoilt->{certificates}[0]{extra} = 1;
fits($spoilt, 'members that are added later do no harm');

# staplectl.
for my $args (['list'], ['list', '-c', $leaves[0]{chain}],
              ['show', 'good.test'], ['check', '--trouble'],
              ['show', '--connect', '127.0.0.1:' . $httpd->port,
               '--servername', 'good.test']) {
    my @ring = grep({ $_ eq '--connect' } @$args)
        ? () : ('-r', $httpd->dir . '/logs/stapling_cache');
    my (undef, $out) = run(build_dir() . '/staplectl/staplectl', @$args,
                           '--json', @ring);

    fits(JSON::PP->new->decode($out), "staplectl @$args");
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

# Without any certificate.
my $bare = Staple::Httpd->new(ports => 2, conf => status_conf());
$bare->start;
$status = Staple::Status->new($bare);
fits($status->json, 'of a server that staples nothing');
like($status->page, qr/No certificate is to be stapled/, '... says the page');
is($status->ask($_)->{status}, 200, "... ?$_ too") for 'metrics', 'auto';
ok($bare->stop, 'httpd stops in good order');
$bare->log_ok;

done_testing;
